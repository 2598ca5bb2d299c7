# METADATA
# title: One instance takes the calls of a zone
# description: |
#   A zone that is preferred with a single instance sends that one everything its callers have, however many
#   they are; the instances of the other zones stay idle.
# custom:
#   code: PD2212
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.lonely_zone

warn := {finding |
	some service in input.documents.Service
	service.spec.resilience.loadBalancing.preferZone.minInstances == 1
	finding := {
		"msg": sprintf("one instance of `%s` takes all calls of its zone", [service.name]),
		"document": service.id,
		"path": ["spec", "resilience", "loadBalancing", "preferZone", "minInstances"],
		"hint": "`minInstances: 2` leaves one when the other is gone",
	}
}
