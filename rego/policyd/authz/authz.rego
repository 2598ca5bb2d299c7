# METADATA
# title: Access of a mesh
# description: |
#   May this caller send this request to that service? This is the reference: the index of the decision server and the
#   proxies decide alike, and a test sends generated requests to all of them to see that it stays so.
#
#   It reads `data.mesh`, which the signed bundle carries, and `input`:
#
#     {"source": {"spiffe": "spiffe://shop.example/ns/default/svc/web", "ip": "10.0.1.11"},
#      "destination": {"service": "checkout", "port": 8080},
#      "method": "POST", "host": "checkout", "path": "/v1/orders?draft=1",
#      "jwt": {"state": "absent" | "invalid" | "valid", "issuer": "https://...", "claims": {}}}
#
#   A connection to a `tcp` service is the method `CONNECT` with the path "".
#
#   `ip`, `port`, `host` and `jwt` may be missing. `source` is what mutual TLS verified, never what a header said. `jwt`
#   is what became of the token: its signature, times and audience have been checked before.
#
#   Every rule here has a value whatever comes in, and a condition that is undefined is a condition that is not met.
#   The parts are functions, so that a query for the whole package shows decisions and nothing else.
package policyd.authz

# METADATA
# description: Whether the request passes.
default allow := false

allow if reason == "allowed"

# METADATA
# description: |
#   `allow`, `deny`, or `reject` for a request that is not canonical: two parsers could read it differently, so no
#   rule is asked.
default outcome := "deny"

outcome := "allow" if reason == "allowed"

outcome := "reject" if reason == "not-canonical"

# METADATA
# description: What a proxy answers. 200 stands for whatever the application will say.
default status := 403

status := 200 if reason == "allowed"

status := 400 if reason == "not-canonical"

status := 401 if reason == "token-needed"

# METADATA
# description: Why, in one word. The order here is the order of the decision; `no-rule` is what is left.
reason := "malformed" if {
	not input
} else := "malformed" if {
	not well_formed(input)
} else := "not-canonical" if {
	not canonical(input)
} else := "unknown-destination" if {
	not destination(input)
} else := "unknown-port" if {
	not at_its_port(input)
} else := "revoked" if {
	not spared(input)
} else := "allowed" if {
	some candidate in destination(input).rules
	enforced(candidate)
	fits(candidate, input)
	token_fits(candidate, input)
} else := "token-needed" if {
	not token_is_valid(input)
	some candidate in destination(input).rules
	candidate.jwt
	enforced(candidate)
	fits(candidate, input)
} else := "no-rule"

# METADATA
# description: The first rule, by name, that allows the request, as `namespace/name`; empty where none does.
default rule := ""

rule := names[0] if {
	allow
	names := [candidate.name |
		some candidate in destination(input).rules
		enforced(candidate)
		fits(candidate, input)
		token_fits(candidate, input)
	]
}

# METADATA
# description: |
#   `would-allow` or `would-deny` where the decision would be another if the observed rules were enforced, in the place
#   of those that they replace; empty where it would be the same. It never changes a decision.
default would := ""

would := "would-allow" if {
	reason in {"no-rule", "token-needed"}
	would_be_allowed(input)
}

would := "would-deny" if {
	reason == "allowed"
	not would_be_allowed(input)
}
