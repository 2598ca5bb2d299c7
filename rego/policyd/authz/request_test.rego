package policyd.authz_test

import data.policyd.authz

test_whatever_no_certificate_of_a_workload_says_is_nobody if {
	every identity in ["spiffe://a/b", "spiffe://a_b.c-1/ns/X/svc/y.z_-", "spiffe://a/...", "spiffe://a/.b/..c/d."] {
		authz.spiffe_id(identity)
	}
	every identity in [
		"", "web", "spiffe://", "spiffe://a", "spiffe://a/", "spiffe:///b", "spiffe://A/b", "SPIFFE://a/b", "spiffe://a/b/", "spiffe://a//b",
		"spiffe://a/.", "spiffe://a/../b", "spiffe://a/b/..", "spiffe://a/%62", "spiffe://a/b?c", "spiffe://a/b#c", "spiffe://a:1/b",
		"spiffe://u@a/b", "spiffe://a/b\n", "spiffe://a/b,spiffe://a/c", "spiffe://a/é", " spiffe://a/b",
	] {
		not authz.spiffe_id(identity)
	}
	every odd in ["spiffe://shop.example/ns/default/svc/web/", "spiffe://Shop.example/ns/default/svc/web"] {
		decision({"sources": [source_with({"anyone": "spiffe://shop.example/"})]}, {"source": {"spiffe": odd}}).reason == "malformed"
	}
}

test_methods if {
	every method in ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"] {
		decision({"permits": [permit_with({"methods": ["*"]})]}, {"method": method}).allow
	}
	every method in ["get", "Get", "TRACE", "CONNECT", "", "*", "PROPFIND", " GET", "GET\n"] {
		decision({"permits": [permit_with({"methods": ["*"]})]}, {"method": method}).reason == "not-canonical"
	}
}

test_hosts if {
	every host in [
		"", "checkout", "CheckOut", "checkout.", "checkout:80", "checkout.:80", "checkout:80.", "checkout:+80", "checkout:99999", "checkout:4294967295", "[::1]:+4294967295", "checkout:00000000000080", "checkout.:0004294967295", "checkout.default",
		"a..b", "a-b", "10.0.1.1", "[::1]", "[::1]:80", "[::FFFF:1.2.3.4]",
	] {
		authz.canonical_host(host)
	}
	every host in [
		" ", ".", "..", "a..", "a:", "a.:", "a:.", ":80", "-a", "a-", "a b", "a,b", "a@b", "a/b", "a_b", "a:80:80", "a:4294967296", "a:9999999999.", "[::1]:9999999999", "a:12345678901", "a:x", "::1",
		"[::1", "[::1]x", "[g]", "[]", "é", "a\n", "\u212aey", "a%20b", "a:-1", "a:++1", "a: 1",
	] {
		not authz.canonical_host(host)
	}
	decision({}, {"host": "a b"}).reason == "not-canonical"
}

test_a_host_that_is_not_known_is_no_fault if {
	request := json.remove(request_with({}), ["host"])
	authz.allow with input as request with data.mesh as mesh_with([rule_with({})], {})
}

test_paths if {
	request := request_with({})
	every path in ["/", "/v1", "/v1/", "/a.b/...", "/.a/..b/a..", "/~!$&'()*+,=:@-_", "/%20", "/%C3%A9", "/%25", "/%3F"] {
		authz.canonical_path(path, request) with data.mesh as mesh_with([], {})
	}
	every path in [
		"", "v1", "*", "//", "/v1//", "/v1//a", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a\\b", "/a;b", "/a#b", "/a b", "/é", "/a\n", "/a\u0000",
		"/%", "/%2", "/%zz", "/%2F", "/%2f", "/%5C", "/%00", "/%2E", "/%2e", "/%41", "/%7E", "/%c3%a9", "/\"", "/<", "/{a}", "/^", "/`", "/|", "/[",
		"http://checkout/v1",
	] {
		not authz.canonical_path(path, request) with data.mesh as mesh_with([], {})
	}
}

test_a_query_is_no_part_of_the_path if {
	decision({}, {"path": "/v1?a=/../b"}).allow
	decision({}, {"path": "/v1?"}).allow
	decision({}, {"path": "/v1??x"}).allow
	decision({}, {"path": "/v1%3Fx"}).reason == "no-rule"
	every query in ["a#b", "a b", "é", "a\n", "\u0000", "\u007f"] {
		decision({}, {"path": concat("?", ["/v1", query])}).reason == "not-canonical"
	}
}

test_opaque_paths_are_not_looked_at if {
	rules := [rule_with({"permits": [permit_with({"paths": [{"segments": [], "rest": true}]})]})]
	mesh := mesh_with(rules, {"opaque_paths": true})
	every path in ["/", "/a%2Fb", "/a//b", "/../x"] {
		authz.allow with input as request_with({"path": path}) with data.mesh as mesh
	}
	every path in ["", "v1", "*", "/a#b", "/a b", "/é", "http://checkout/"] {
		authz.reason == "not-canonical" with input as request_with({"path": path}) with data.mesh as mesh
	}
	authz.reason == "not-canonical" with input as request_with({"method": "TRACE"}) with data.mesh as mesh
}

test_no_rule_tells_opaque_paths_apart if {
	mesh := mesh_with([rule_with({})], {"opaque_paths": true})
	authz.reason == "no-rule" with input as request_with({}) with data.mesh as mesh
}

# What is decided about a request to a service that takes connections, under one rule with this permit.
connected(permit, said) := answer if {
	rules := [rule_with({"permits": [permit_with(permit)]})]
	request := object.union(request_with({"method": "CONNECT", "path": ""}), said)
	answer := authz.reason with input as request with data.mesh as mesh_with(rules, {"connections": true})
}

test_connections_are_let_in_by_what_names_them if {
	connected({"methods": ["CONNECT"]}, {}) == "allowed"
	connected({"methods": ["CONNECT"], "ports": [8080]}, {}) == "allowed"
	connected({"methods": ["CONNECT"], "ports": [9090]}, {}) == "no-rule"
	connected({"methods": ["*"]}, {}) == "no-rule"
	connected({"methods": ["*"], "paths": [{"segments": [], "rest": true}]}, {}) == "no-rule"
}

test_a_service_takes_connections_or_requests if {
	every said in [{"method": "GET"}, {"path": "/"}, {"method": "GET", "path": "/v1"}, {"host": "a b"}] {
		connected({"methods": ["CONNECT"]}, said) == "not-canonical"
	}
	rules := [rule_with({"permits": [permit_with({"methods": ["CONNECT"], "paths": [{"segments": [], "rest": true}]})]})]
	every said in [{"method": "CONNECT", "path": ""}, {"method": "CONNECT"}] {
		reason := authz.reason with input as request_with(said) with data.mesh as mesh_with(rules, {})
		reason == "not-canonical"
	}
}
