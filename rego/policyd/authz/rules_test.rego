package policyd.authz_test

import data.policyd.authz

pattern(segments, rest) := {"segments": segments, "rest": rest}

# Whether a rule for one path lets a request for another in.
holds(one, path) if decision({"permits": [permit_with({"paths": [one]})]}, {"path": path}).allow

test_literal_paths if {
	holds(pattern(["v1", "orders"], false), "/v1/orders")
	not holds(pattern(["v1", "orders"], false), "/v1/orders/")
	not holds(pattern(["v1", "orders"], false), "/v1")
	holds(pattern(["v1", ""], false), "/v1/")
	holds(pattern([""], false), "/")
	not holds(pattern([""], false), "/v1")
}

test_a_name_is_one_segment_that_is_not_empty if {
	holds(pattern(["v1", null], false), "/v1/a")
	holds(pattern(["v1", null], false), "/v1/%C3%A9")
	not holds(pattern(["v1", null], false), "/v1/")
	not holds(pattern(["v1", null], false), "/v1")
	not holds(pattern(["v1", null], false), "/v1/a/b")
	not holds(pattern([null], false), "/")
}

test_the_rest_may_be_nothing if {
	every path in ["/v2", "/v2/", "/v2/a", "/v2/a/b/"] {
		holds(pattern(["v2"], true), path)
	}
	every path in ["/", "/v2x", "/v", "/x/v2"] {
		not holds(pattern(["v2"], true), path)
	}
	every path in ["/", "/v2", "/a/b"] {
		holds(pattern([], true), path)
	}
	not holds(pattern(["v1", null], true), "/v1/")
}

test_get_is_not_head if {
	decision({}, {"method": "HEAD"}).reason == "no-rule"
	decision({"permits": [permit_with({"methods": ["HEAD"]})]}, {}).reason == "no-rule"
}

test_permits_are_ored_and_their_fields_anded if {
	permits := [
		permit_with({"methods": ["PUT"]}),
		permit_with({"paths": [pattern(["v2"], false), pattern(["v3"], false)]}),
	]
	decision({"permits": permits}, {"method": "PUT"}).allow
	decision({"permits": permits}, {"path": "/v3"}).allow
	not decision({"permits": permits}, {}).allow
	not decision({"permits": permits}, {"method": "PUT", "path": "/v2"}).allow
	not decision({"permits": []}, {}).allow
}

test_ports if {
	decision({"permits": [permit_with({"ports": [80, 8080]})]}, {}).allow
	decision({"permits": [permit_with({"ports": [80]})]}, {}).reason == "no-rule"
}

# Whether a source lets an identity in, from an address.
lets(source, identity, ip) if decision({"sources": [source_with(source)]}, {"source": {"spiffe": identity, "ip": ip}}).allow

test_a_source_that_says_nothing_is_nobody if {
	not lets({}, web, "10.0.0.1")
	not decision({"sources": []}, {}).allow
}

test_services_and_identities if {
	lets({"services": ["spiffe://x/a", web]}, web, "")
	not lets({"services": [web]}, "spiffe://shop.example/ns/default/svc/web2", "")
	not lets({"services": [web]}, "spiffe://other.example/ns/default/svc/web", "")
	lets({"identities": ["spiffe://partner.example/a"]}, "spiffe://partner.example/a", "")
	not lets({"identities": ["spiffe://partner.example/a"]}, "spiffe://partner.example/a/b", "")
}

test_namespaces_and_anyone if {
	namespace := ["spiffe://shop.example/ns/default/svc/"]
	lets({"namespaces": namespace}, web, "")
	not lets({"namespaces": namespace}, "spiffe://shop.example/ns/default2/svc/web", "")
	lets({"anyone": "spiffe://shop.example/"}, web, "")
	not lets({"anyone": "spiffe://shop.example/"}, "spiffe://shop.example.org/ns/default/svc/web", "")
}

test_fields_are_anded_and_sources_ored if {
	not lets({"services": [web], "identities": ["spiffe://partner.example/a"]}, web, "")
	lets({"services": [web], "anyone": "spiffe://shop.example/"}, web, "")
	not lets({"services": [web], "namespaces": ["spiffe://shop.example/ns/ops/svc/"]}, web, "")
	decision({"sources": [source_with({"services": ["spiffe://x/a"]}), source_with({"services": [web]})]}, {}).allow
}

ten := ["00000000000000000000ffff0a000000", "00000000000000000000ffff0affffff"]

test_blocks if {
	lets({"ip": [ten]}, web, "10.0.0.1")
	lets({"ip": [ten]}, "spiffe://other.example/anybody", "10.255.255.255")
	lets({"ip": [ten], "services": [web]}, web, "::ffff:10.0.0.1")
	not lets({"ip": [["00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff"]]}, web, "10.0.0.1")
	not lets({"ip": [ten]}, web, "11.0.0.0")
	not lets({"ip": [ten]}, web, "9.255.255.255")
	not lets({"ip": [ten], "services": ["spiffe://x/a"]}, web, "10.0.0.1")
	every nobody in ["", "web", "spiffe://", "spiffe:///x", "SPIFFE://x/y", "spiffe://x", "spiffe://x/", "spiffe://x/../y"] {
		not lets({"ip": [ten]}, nobody, "10.0.0.1")
	}
	every odd in ["", "10.0.0", "10.0.0.01", "a", null, 167772161, ["10.0.0.1"]] {
		not lets({"ip": [ten]}, web, odd)
	}
	not decision({"sources": [source_with({"ip": [ten]})]}, {}).allow
}

expiring_us := 1893456000000000 # 2030-01-01

at(ns, floor_us) := reason if {
	mesh := object.union(mesh_with([rule_with({"expires_us": expiring_us})], {}), {"floor_us": floor_us})
	reason := authz.reason with input as request_with({}) with data.mesh as mesh with time.now_ns as ns
}

test_from_the_instant_on_it_allows_nothing if {
	at((expiring_us * 1000) - 1, null) == "allowed"
	at(expiring_us * 1000, null) == "no-rule"
	at((expiring_us * 1000) + 1, null) == "no-rule"
}

test_a_clock_that_was_set_back_opens_nothing if {
	at(0, expiring_us - 1) == "allowed"
	at(0, expiring_us) == "no-rule"
	at(expiring_us * 1000, expiring_us - 1) == "no-rule"
}

test_a_floor_that_is_missing_closes_what_expires if {
	rules := [rule_with({"expires_us": expiring_us})]
	mesh := json.remove(mesh_with(rules, {}), ["floor_us"])
	authz.reason == "no-rule" with input as request_with({}) with data.mesh as mesh with time.now_ns as 0
}

asking := {"jwt": {"issuer": "https://id.example", "audiences": [], "claims": {"role": ["admin", "root"], "team": ["buy"]}}}

# What is decided about a valid token with these claims.
with_claims(claims) := decision(asking, {"jwt": {"state": "valid", "issuer": "https://id.example", "claims": claims}}).status

test_all_claims_each_with_one_value if {
	with_claims({"role": "admin", "team": "buy"}) == 200
	with_claims({"role": ["x", "root"], "team": ["buy"], "more": 1}) == 200
	with_claims({"role": "admin"}) == 403
	with_claims({"role": "user", "team": "buy"}) == 403
	with_claims({"role": [], "team": "buy"}) == 403
	with_claims({"role": {"x": "admin"}, "team": "buy"}) == 403
	with_claims({"role": true, "team": "buy"}) == 403
	with_claims(null) == 403
}

test_nobodys_tokens_are_good_where_the_issuer_is_not_known if {
	unknown := {"jwt": {"issuer": "", "audiences": [], "claims": {}}}
	decision(unknown, {"jwt": {"state": "valid", "issuer": "", "claims": {}}}).status == 403
}

test_only_valid_tokens_of_the_issuer if {
	claims := {"role": "admin", "team": "buy"}
	decision(asking, {"jwt": {"state": "valid", "issuer": "https://id.example/", "claims": claims}}).status == 403
	decision(asking, {"jwt": {"state": "valid", "claims": claims}}).status == 403
	every jwt in [{"state": "invalid", "issuer": "https://id.example", "claims": claims}, {"state": "absent"}, {}, null, "valid"] {
		decision(asking, {"jwt": jwt}).status == 401
	}
}
