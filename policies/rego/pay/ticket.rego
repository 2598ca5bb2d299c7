# METADATA
# title: Access to payments needs a ticket
# description: |
#   Whoever opens payments says in a ticket why, so that an auditor can follow it. The rule's `ticket` label names it.
# custom:
#   severity: error
#   exemptible: true
package shop.ticket

# Team rules follow Conftest's conventions: what is in `deny` refuses the commit, what is in `warn` does not.
deny contains finding if {
	some rule in input.documents.AccessRule
	rule.target == "default/payments"
	not regex.match(`^PAY-[0-9]+$`, object.get(rule, ["labels", "ticket"], ""))
	finding := {
		"msg": sprintf("`%s` opens `payments` without a ticket", [rule.name]),
		"document": rule.id,
		"path": ["metadata"],
		"hint": "for example `labels: {ticket: PAY-17}`",
	}
}
