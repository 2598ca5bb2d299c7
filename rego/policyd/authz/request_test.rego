package policyd.authz_test

import data.policyd.authz

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
		"", "checkout", "CheckOut", "checkout.", "checkout:80", "checkout.:80", "checkout:80.", "checkout:+80", "checkout:99999", "checkout.default",
		"a..b", "a-b", "10.0.1.1", "[::1]", "[::1]:80", "[::FFFF:1.2.3.4]",
	] {
		authz.canonical_host(host)
	}
	every host in [
		" ", ".", "..", "a..", "a:", "a.:", "a:.", ":80", "-a", "a-", "a b", "a,b", "a@b", "a/b", "a_b", "a:80:80", "a:1234567890", "a:x", "::1",
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
