# METADATA
# title: A version promoted without a verdict
# description: |
#   With `onInconclusive: promote` a version is promoted because nothing is known about it: no data is
#   not good news.
# custom:
#   code: PD2305
#   severity: by-tier
#   exemptible: true
package policyd.guardrails.releases.promote_unproven

deny := {finding |
	some split in input.documents.CanarySplit
	split.spec.onInconclusive == "promote"
	finding := {
		"msg": sprintf("`%s` promotes a version of `%s` when nothing is known about it", [split.name, split.spec.service]),
		"document": split.id,
		"path": ["spec", "onInconclusive"],
		"hint": "`abort`, or `hold` and let a person decide",
	}
}
