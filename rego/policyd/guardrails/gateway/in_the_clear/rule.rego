# METADATA
# title: Requests that come in in the clear
# description: |
#   Everybody on the way to the gateway reads what is sent there and changes what comes back, tokens included. Without
#   `tls` and `plaintext` a listener sends clients to where TLS is spoken.
# custom:
#   code: PD2223
#   severity: error
#   exemptible: true
package policyd.guardrails.gateway.in_the_clear

deny := {finding |
	some gateway in input.documents.Gateway
	listener := gateway.spec.listeners[index]
	listener.plaintext
	finding := {
		"msg": sprintf("`%s` takes requests in the clear at port %d", [gateway.name, listener.port]),
		"document": gateway.id,
		"path": ["spec", "listeners", index, "plaintext"],
		"hint": "leave `plaintext` out, and clients are sent to the listener with `tls`",
	}
}
