"""What a rule says about itself: the `# METADATA` comment above its package.

The rule's body says what is wrong and where; code, severity and whether a person may make an exception are read
from here, by the package that spoke.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import yaml

from policyd.base.diagnostics import Severity
from policyd.guardrails.bundle import Bundle, Module

TEAM_CODE = "PD2900"
"""The code of team rules that do not bring their own."""
_TEAM_CODES = re.compile(r"PD29[0-9]{2}")
_BLOCK = re.compile(r"^# METADATA[ \t]*\n((?:#.*\n)+)(?=package )", re.MULTILINE)


class Weight(enum.Enum):
    """How much a rule matters, `custom.severity`."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    BY_TIER = "by-tier"
    """An error where the document is about a service of `tier: critical`, else a warning."""


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """One rule, for people and for the checker."""

    package: str
    code: str = TEAM_CODE
    title: str = ""
    description: str = ""
    weight: Weight = Weight.ERROR
    exemptible: bool = False

    def severity(self, *, warns: bool, critical: bool) -> Severity:
        """The severity of one finding: of a `warn` set, about a critical service or not."""
        if self.weight is Weight.INFO:
            return Severity.INFO
        if warns or self.weight is Weight.WARNING or (self.weight is Weight.BY_TIER and not critical):
            return Severity.WARNING
        return Severity.ERROR


@functools.lru_cache(maxsize=8)
def rules(bundle: Bundle) -> Mapping[str, RuleInfo]:
    """Every rule of the bundle's roots by package. A package without (readable) metadata gets the defaults."""
    found = (
        _info(module) for module in bundle.modules if any(_inside(module.package, root) for root in bundle.roots)
    )
    return MappingProxyType(
        {info.package: info for info in sorted(found, key=lambda info: (info.code, info.package))}
    )


def _inside(package: str, root: str) -> bool:
    return package == root or package.startswith(root + ".")


def _info(module: Module) -> RuleInfo:
    said = _metadata(module.text)
    custom = said.get("custom")
    custom = custom if isinstance(custom, dict) else {}
    try:
        weight = Weight(custom.get("severity", "error"))
    except ValueError:
        weight = Weight.ERROR
    return RuleInfo(
        module.package,
        _code(module.package, custom.get("code")),
        str(said.get("title", "")),
        " ".join(str(said.get("description", "")).split()),
        weight,
        custom.get("exemptible") is True,
    )


def _code(package: str, said: object) -> str:
    """The rule's code. Team rules have PD29xx: under another code they could pass for a shipped rule."""
    text = said if isinstance(said, str) else TEAM_CODE
    if not package.startswith("policyd.") and not _TEAM_CODES.fullmatch(text):
        return TEAM_CODE
    return text


def _metadata(text: str) -> dict[str, object]:
    match = _BLOCK.search(text)
    if match is None:
        return {}
    try:
        said = yaml.safe_load("\n".join(line[2:] for line in match[1].splitlines()))
    except yaml.YAMLError:
        return {}
    return said if isinstance(said, dict) else {}
