"""policyd: a declarative policy engine and GitOps controller for service meshes."""
