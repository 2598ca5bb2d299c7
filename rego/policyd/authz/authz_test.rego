package policyd.authz_test

import data.policyd.authz

web := "spiffe://shop.example/ns/default/svc/web"

# A rule that lets `web` get `/v1`, changed by `said`.
rule_with(said) := object.union(
	{
		"name": "default/rule",
		"mode": "enforce",
		"expires_us": null,
		"jwt": null,
		"replaces": [],
		"sources": [source_with({"services": [web]})],
		"permits": [permit_with({})],
	},
	said,
)

source_with(said) := object.union({"services": [], "namespaces": [], "identities": [], "anyone": "", "ip": []}, said)

permit_with(said) := object.union({"methods": ["GET"], "ports": [], "paths": [{"segments": ["v1"], "rest": false}]}, said)

# A mesh whose service `checkout` has these rules and is changed by `said`.
mesh_with(rules, said) := {
	"trust_domain": "shop.example",
	"floor_us": null,
	"services": {"default/checkout": object.union(
		{
			"spiffe": "spiffe://shop.example/ns/default/svc/checkout",
			"port": 8080,
			"opaque_paths": false,
			"connections": false,
			"revoked": [],
			"rules": rules,
		},
		said,
	)},
}

# A request of `web` for `/v1`, changed by `said`.
request_with(said) := object.union(
	{
		"source": {"spiffe": web},
		"destination": {"service": "checkout"},
		"method": "GET",
		"host": "checkout",
		"path": "/v1",
	},
	said,
)

# What is decided about a request where `checkout` has one rule.
decision(rule, request) := answer if {
	answer := data.policyd.authz with input as request_with(request) with data.mesh as mesh_with([rule_with(rule)], {})
}

test_a_whole_decision if {
	decision({}, {}) == {
		"allow": true,
		"outcome": "allow",
		"status": 200,
		"rule": "default/rule",
		"reason": "allowed",
		"would": "",
	}
}

test_no_rule if {
	decision({}, {"method": "POST"}) == {
		"allow": false,
		"outcome": "deny",
		"status": 403,
		"rule": "",
		"reason": "no-rule",
		"would": "",
	}
}

test_not_canonical if {
	decision({}, {"path": "/v1//"}) == {
		"allow": false,
		"outcome": "reject",
		"status": 400,
		"rule": "",
		"reason": "not-canonical",
		"would": "",
	}
}

test_token_needed if {
	answer := decision({"jwt": {"issuer": "https://id.example", "audiences": [], "claims": {}}}, {})
	answer.status == 401
	answer.outcome == "deny"
	answer.reason == "token-needed"
}

test_a_token_that_would_not_help_is_not_asked_for if {
	asking := {"jwt": {"issuer": "https://id.example", "audiences": [], "claims": {}}}
	decision(asking, {"path": "/v2"}).status == 403
	decision(asking, {"jwt": {"state": "valid", "issuer": "https://other.example", "claims": {}}}).status == 403
	decision(object.union(asking, {"mode": "observe"}), {}).status == 403
}

test_the_first_rule_by_name_is_told if {
	rules := [rule_with({"name": "default/a", "mode": "observe"}), rule_with({"name": "default/b"}), rule_with({"name": "default/c"})]
	authz.rule == "default/b" with input as request_with({}) with data.mesh as mesh_with(rules, {})
}

test_unknown_destination if {
	decision({}, {"destination": {"service": "nobody"}}).reason == "unknown-destination"
	decision({}, {"destination": {"service": "other/checkout"}}).reason == "unknown-destination"
	decision({}, {"destination": {"service": "default/checkout/x"}}).reason == "unknown-destination"
	decision({}, {"destination": {"service": ""}}).reason == "unknown-destination"
}

test_a_service_without_rules_is_closed if {
	authz.reason == "no-rule" with input as request_with({}) with data.mesh as mesh_with([], {})
}

test_the_port_is_the_services if {
	decision({}, {"destination": {"service": "default/checkout", "port": 8080}}).allow
	decision({}, {"destination": {"service": "default/checkout", "port": 8080.0}}).allow
	every port in [8081, 0, -8080] {
		decision({}, {"destination": {"service": "checkout", "port": port}}).reason == "unknown-port"
	}
}

test_revoked_before_any_rule if {
	mesh := mesh_with([rule_with({})], {"revoked": [web]})
	authz.reason == "revoked" with input as request_with({}) with data.mesh as mesh
	authz.status == 403 with input as request_with({}) with data.mesh as mesh
	authz.would == "" with input as request_with({}) with data.mesh as mesh
}

test_without_a_list_of_the_revoked_everybody_is if {
	mesh := json.remove(mesh_with([rule_with({})], {}), ["services/default~1checkout/revoked"])
	authz.reason == "revoked" with input as request_with({}) with data.mesh as mesh
}

test_observed_rules_change_no_decision if {
	answer := decision({"mode": "observe"}, {})
	not answer.allow
	answer.rule == ""
	answer.would == "would-allow"
}

test_observed_in_the_place_of_another if {
	rules := [
		rule_with({"name": "default/a"}),
		rule_with({"name": "default/b", "mode": "observe", "replaces": ["default/a"], "permits": [permit_with({"methods": ["PUT"]})]}),
	]
	mesh := mesh_with(rules, {})
	authz.would == "would-deny" with input as request_with({}) with data.mesh as mesh
	authz.allow with input as request_with({}) with data.mesh as mesh
	authz.would == "would-allow" with input as request_with({"method": "PUT"}) with data.mesh as mesh
	authz.would == "" with input as request_with({"method": "POST"}) with data.mesh as mesh
}

test_an_observed_rule_that_has_ended_replaces_nothing if {
	permits := [permit_with({"methods": ["PUT"]})]
	ended := rule_with({"name": "default/b", "mode": "observe", "replaces": ["default/a"], "permits": permits, "expires_us": 1})
	lasting := object.union(ended, {"name": "default/c", "expires_us": null})
	authz.would == "" with input as request_with({}) with data.mesh as mesh_with([rule_with({"name": "default/a"}), ended], {})
	authz.would == "would-deny" with input as request_with({})
		with data.mesh as mesh_with([rule_with({"name": "default/a"}), ended, lasting], {})
}

test_an_enforced_rule_replaces_nothing if {
	rules := [rule_with({"name": "default/a"}), rule_with({"name": "default/b", "replaces": ["default/a"]})]
	authz.would == "" with input as request_with({}) with data.mesh as mesh_with(rules, {})
}

test_whatever_comes_in_is_refused if {
	every odd in [
		null, true, 5, "allow", [], {}, {"source": web},
		request_with({"source": {"spiffe": null}}), request_with({"source": {"spiffe": 5}}), request_with({"source": {"spiffe": ""}}), request_with({"source": {"spiffe": "web"}}),
		request_with({"source": {"spiffe": [web]}}), request_with({"destination": "checkout"}), request_with({"destination": {"service": null}}),
		request_with({"destination": {"service": "checkout", "port": "8080"}}), request_with({"destination": {"service": "checkout", "port": null}}),
		request_with({"destination": {"service": "checkout", "port": true}}), request_with({"destination": {"service": "checkout", "port": 8080.5}}),
		request_with({"method": null}), request_with({"method": ["GET"]}), request_with({"path": null}), request_with({"path": ["/v1"]}),
		request_with({"host": null}), request_with({"host": ["checkout"]}), json.remove(request_with({}), ["path"]),
	] {
		answer := data.policyd.authz with input as odd with data.mesh as mesh_with([rule_with({})], {})
		object.remove(answer, ["rule", "would"]) == {"allow": false, "outcome": "deny", "status": 403, "reason": "malformed"}
	}
}

test_without_a_mesh_nothing_is_allowed if {
	not authz.allow with input as request_with({}) with data.mesh as {}
	authz.reason == "unknown-destination" with input as request_with({}) with data.mesh as {}
}

test_no_input_at_all_is_malformed if {
	authz.reason == "malformed"
	not authz.allow
	authz.status == 403
}
