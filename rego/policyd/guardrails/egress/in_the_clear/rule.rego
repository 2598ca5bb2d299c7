# METADATA
# title: Requests that leave the mesh in the clear
# description: |
#   Everybody on the way to the host reads what is sent there and changes what comes back, credentials included, and
#   nothing tells whether it is that host who answers.
# custom:
#   code: PD2221
#   severity: error
#   exemptible: true
package policyd.guardrails.egress.in_the_clear

deny := {finding |
	some egress in input.documents.Egress
	egress.spec.plaintext
	finding := {
		"msg": sprintf("requests to `%s` leave the mesh in the clear", [egress.name]),
		"document": egress.id,
		"path": ["spec", "plaintext"],
		"hint": "leave `plaintext` out: `tls` with the system's roots is the default",
	}
}
