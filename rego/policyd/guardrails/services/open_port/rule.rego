# METADATA
# title: A health check that asks nothing
# description: |
#   A process that hangs, or has lost its database, still accepts connections. A path or the gRPC health
#   protocol lets the application say whether it can serve.
# custom:
#   code: PD2213
#   severity: warning
#   exemptible: true
package policyd.guardrails.services.open_port

warn := {finding |
	some service in input.documents.Service
	service.spec.healthCheck.tcp
	not service.spec.protocol == "tcp"
	finding := {
		"msg": sprintf("an instance of `%s` counts as healthy as long as its port is open", [service.name]),
		"document": service.id,
		"path": ["spec", "healthCheck", "tcp"],
		"hint": "for example `healthCheck: {path: /healthz}` or `healthCheck: {grpc: {}}`",
	}
}
