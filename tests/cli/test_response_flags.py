"""Every flag that Envoy knows has its words, here and in the compiler's README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from validate import validate_pb2

from policyd.cli.response_flags import FLAGS, explained


def test_every_flag_of_envoy_has_words() -> None:
    field: Any = accesslog_pb2.ResponseFlagFilter.DESCRIPTOR.fields_by_name["flags"]
    known = field.GetOptions().Extensions[validate_pb2.rules].repeated.items.string
    assert set(getattr(known, "in")) == FLAGS.keys()


def test_the_readme_has_the_same_table(repository_root: Path) -> None:
    text = (repository_root / "compilers/policyd_compilers/envoy/README.md").read_text()
    table = text.partition("| flag | meaning |")[2].partition("\n## ")[0]
    assert dict(re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", table)) == FLAGS


def test_a_line_may_have_several_flags_or_none() -> None:
    assert list(explained("-")) == list(explained("")) == []
    assert [flag for flag, _ in explained("UF,URX")] == ["UF", "URX"]
    assert list(explained("XX")) == [("XX", "a flag that policyd does not know")]
