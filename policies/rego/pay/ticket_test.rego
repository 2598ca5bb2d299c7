package shop.ticket_test

import data.shop.ticket

test_a_rule_without_a_ticket_is_denied if {
	some finding in ticket.deny with input as commit("default/payments", {})
	finding.document == 1
}

test_a_ticket_elsewhere_is_no_ticket if {
	count(ticket.deny) == 1 with input as commit("default/payments", {"labels": {"ticket": "OPS-1"}})
}

test_a_ticket_is_enough if {
	count(ticket.deny) == 0 with input as commit("default/payments", {"labels": {"ticket": "PAY-17"}})
}

test_other_services_need_none if {
	count(ticket.deny) == 0 with input as commit("default/orders", {})
}

commit(target, said) := {"documents": {"AccessRule": [object.union({"id": 1, "name": "rule", "target": target}, said)]}}
