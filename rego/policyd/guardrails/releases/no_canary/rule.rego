# METADATA
# title: A critical service without a canary
# description: |
#   Without a `CanarySplit` a new version of the service gets every request at once.
# custom:
#   code: PD2307
#   severity: warning
#   exemptible: true
package policyd.guardrails.releases.no_canary

_split := {canary.target | some canary in input.documents.CanarySplit}

warn contains {
	"msg": sprintf("`%s` is `tier: critical` and changes its version without a canary", [service.name]),
	"document": service.id,
	"path": ["metadata", "name"],
	"hint": "add a `CanarySplit` with `steps` and `gates`",
} if {
	some service in input.documents.Service
	service.critical
	not service.target in _split
}
