"""Every finding's code: the tables of all stages together, for `policyd explain PD1103`."""

from __future__ import annotations

from collections.abc import Mapping

from policyd.base.codes import Explanation, table
from policyd.base.errors import UsageError
from policyd.compiler import registry
from policyd.compiler.codes import CODES as SHARED_LOSSES
from policyd.decisions.codes import CODES as DECISIONS
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.codes import explanations
from policyd.intents.codes import CODES as INTENTS
from policyd.lowering.codes import CODES as LOWERING
from policyd.source.codes import SOURCE_CODES

OWN = table(
    Explanation(
        "PD1390",
        "the proxy refuses the configuration",
        "`policyd check --deep` gave the compiled configuration to the real proxy, and the proxy would not start "
        "with it. The reason is in its own words. A wave would stop at its first proxy.",
    ),
    Explanation(
        "PD3101",
        "the trust domain of a live mesh would change",
        "Every identity is named after the trust domain, so all of them would change at once and no proxy would know "
        "its peers. The commit is refused and the proxies keep what they have. Take the change back, or run another "
        "controller for a mesh with the new trust domain and move the services there.",
    ),
    Explanation(
        "PD3102",
        "a data plane that cannot be run",
        "The mesh names a compiler that is not installed, or one whose files this controller does not deliver yet. "
        "The commit is refused and the proxies keep what they have. `compile`, `check` and `diff` know such a mesh.",
    ),
)


def all_codes() -> Mapping[str, Explanation]:
    """Every code that a verb can print and policyd explains. Raises `ValueError` where two stages share one."""
    compilers = [registry.load(name).codes for name in registry.installed()]
    tables = (
        INTENTS,
        LOWERING,
        DECISIONS,
        SHARED_LOSSES,
        *compilers,
        explanations(shipped_bundle()),
        SOURCE_CODES,
        OWN,
    )
    return table(*(explanation for one in tables for explanation in one.values()))


def explanation(code: str) -> Explanation:
    """What a code means. Raises `UsageError` for one that policyd does not know."""
    found = all_codes().get(code)
    if found is None:
        raise UsageError(f"no finding has the code `{code}`", hint="`policyd check -o json` names the codes it finds")
    return found
