# METADATA
# title: A service without an owner
# description: |
#   When a service burns, somebody has to be called.
# custom:
#   code: PD2201
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.services.owner

deny := {finding |
	some service in input.documents.Service
	service.owner == ""
	finding := {
		"msg": sprintf("`%s` has no owner", [service.name]),
		"document": service.id,
		"path": ["metadata", "name"],
		"hint": "name the team: `metadata: {owner: team-buy}`",
	}
}
