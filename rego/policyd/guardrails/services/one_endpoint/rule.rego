# METADATA
# title: A critical service with one instance
# description: |
#   With one instance every restart is an outage, and no change can be tried on one proxy before the
#   others.
# custom:
#   code: PD2204
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.one_endpoint

warn := {finding |
	some service in input.documents.Service
	service.critical
	serving := service.spec.version
	count(service.spec.versions[serving].endpoints) == 1
	finding := {
		"msg": sprintf("`%s` is `tier: critical` and has one instance of `%s`", [service.name, serving]),
		"document": service.id,
		"path": ["spec", "versions", serving],
		"hint": "run at least two, in different zones",
	}
}
