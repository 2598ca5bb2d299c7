# METADATA
# title: A service that nobody may call
# description: |
#   No rule names the service as its destination, so that every call to it is denied. Fine for a service
#   that only calls others.
# custom:
#   code: PD2108
#   severity: info
#   exemptible: false
package policyd.guardrails.access.nobody_may_call

warn := {finding |
	some service in input.documents.Service
	not "AccessRule" in service.subjectOf
	finding := {
		"msg": sprintf("no access rule allows anyone to call `%s`", [service.name]),
		"document": service.id,
		"path": ["metadata", "name"],
		"hint": "add an `AccessRule` if somebody should",
	}
}
