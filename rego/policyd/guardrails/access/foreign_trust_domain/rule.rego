# METADATA
# title: Access from outside the trust domain
# description: |
#   The identity belongs to another trust domain: another organisation decides who gets it. Such access
#   wants a decision of its own, with an end.
# related_resources:
#   - ref: https://spiffe.io/docs/latest/spiffe-about/spiffe-concepts/
#     description: SPIFFE concepts, trust domain
# custom:
#   code: PD2102
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.access.foreign_trust_domain

deny := {finding |
	domain := input.mesh.trustDomain
	some rule in input.documents.AccessRule
	source := rule.spec.from[i]
	some identity in array.flatten([source.identity])
	not startswith(identity, concat("", ["spiffe://", domain, "/"]))
	finding := {
		"msg": sprintf("`%s` lets `%s` call `%s`, from outside the trust domain `%s`", [rule.name, identity, rule.spec.to, domain]),
		"document": rule.id,
		"path": ["spec", "from", i, "identity"],
		"hint": "if the partner is meant to call this, get an exception with an end date",
	}
}
