"""Fuzz the HTTP edge with atheris, for as long as libFuzzer's flags say.

.venv/bin/pip install -c .github/constraints.txt -e '.[fuzz,test]'
.venv/bin/python -m tests.decider.fuzz_edge [CORPUS_FOLDER ...] [-max_total_time=300 ...]

An input's last bytes say where it is cut into pieces. What fails is written to `crash-*`; given as the only argument
it is run again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["policyd.decider", "policyd.api"]):
    from tests.decider.edge_fuzz import Rig, check

from tests.decider.test_edge import ASK, BODY, head

CUTS = 4
SEEDS = [
    ASK * 3,
    head(b"Transfer-Encoding: chunked")
    + b"5\r\n%b\r\n" % BODY[:5]
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 5, BODY[5:]),
    head(b"Expect: 100-continue", b"Content-Length: %d" % len(BODY)) + BODY,
    head(b"Content-Length: 2", target=b"/v1/batch/data/policyd/authz") + b"{}" + ASK,
    head(method=b"GET", target=b"/v1/data?pretty&input=%7B%7D") + head(method=b"HEAD", target=b"/health"),
]


def main() -> None:
    """The program."""
    rig = Rig()

    def one(data: bytes) -> None:
        check(rig, data[:-CUTS], [each * each for each in data[-CUTS:]])

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS):
            (Path(folder) / str(number)).write_bytes(seed + b"\x03\x09\x11\x00")
        given = [each for each in sys.argv[1:] if not each.startswith("-")]
        more = [] if any(Path(each).is_file() for each in given) else [folder]
        atheris.Setup([*sys.argv, *more], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
