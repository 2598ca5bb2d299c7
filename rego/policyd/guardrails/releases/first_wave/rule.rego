# METADATA
# title: A first wave over everything
# description: |
#   Configuration is tried on a few proxies before all of them have it. With a critical service in the
#   mesh, the first wave leaves more than half of the proxies alone.
# custom:
#   code: PD2306
#   severity: error
#   exemptible: true
package policyd.guardrails.releases.first_wave

import data.policyd.lib.units

deny := {finding |
	input.mesh.critical
	some strategy in input.documents.RolloutStrategy
	share := strategy.spec.waves[0].proxies
	is_string(share)
	units.percent(share) > 50
	finding := {
		"msg": sprintf("the first wave of `%s` takes %s of the proxies, in a mesh with critical services", [strategy.name, share]),
		"document": strategy.id,
		"path": ["spec", "waves", 0, "proxies"],
		"hint": "for example `waves: [{proxies: 1}, {proxies: 25%}, {proxies: 100%}]`",
	}
}
