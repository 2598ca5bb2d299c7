"""The repository that `policyd init` begins: real files of this package, with the user's names put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from policyd.cli.version import version_of
from policyd.intents.schema import json_schema

FOLDER = Path(__file__).resolve().parent / "starter"
SCHEMA = ".policyd/schema.json"
WORKFLOW = ".github/workflows/policyd.yaml"
NICE_TO_HAVE = frozenset({".gitignore", ".vscode/extensions.json", ".vscode/settings.json", "README.md", SCHEMA})
"""Where a repository has its own, that one stays."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the user calls things. All are DNS labels but the trust domain, so they are safe to paste into YAML."""

    mesh: str
    trust_domain: str
    caller: str
    callee: str


def starter(names: Names) -> Mapping[str, bytes]:
    """Path to content, sorted by path."""
    return dict(sorted(_files(names)))


def _files(names: Names) -> Iterator[tuple[str, bytes]]:
    words = {
        "__mesh__": names.mesh,
        "__trust_domain__": names.trust_domain,
        "__caller__": names.caller,
        "__callee__": names.callee,
        "__version__": version_of("policyd") or "0",
    }
    titles = {
        "services/caller.yaml": f"services/{names.caller}.yaml",
        "services/callee.yaml": f"services/{names.callee}.yaml",
    }
    for file in FOLDER.rglob("*"):
        if file.is_file():
            inside = file.relative_to(FOLDER).as_posix()
            text = file.read_text(encoding="utf-8")
            for mark, word in words.items():
                text = text.replace(mark, word)
            # Hidden files would be hidden in this package, too: tools leave those out of wheels and searches.
            yield titles.get(inside, inside.replace("dot-", ".")), text.encode()
    yield SCHEMA, orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def settings_text(repository: str) -> str:
    """The settings of a controller that follows a repository on the same machine."""
    return f"""\
# How the controller on this machine reaches the world. It stays outside of the repository: Git says what should be,
# never how to reach it. Relative paths are taken from the folder of this file.
source: {{repository: {repository}, branch: main}}
state: state                              # the store, the certificate authority, the mirror of the repository
xds: 127.0.0.1:15010                      # where the proxies' configuration comes from
http: 127.0.0.1:8181                      # policyd status, releases, explain; decisions
admin: "unix:run/{{service}}-{{version}}-{{address}}.sock"   # where each Envoy's counters are read
"""
