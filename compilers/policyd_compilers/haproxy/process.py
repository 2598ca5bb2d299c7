"""What the process and all its proxies share: limits, TLS, the log, errors in JSON. Alike in all but their names.

What belongs to a machine and not to the mesh (sockets for administration, threads, users) is none of policyd's:
whoever starts the proxy adds a file with a `global` section of his own.
"""

from __future__ import annotations

from functools import cache

from policyd.compiler.artifact import Artifact
from policyd.model.node import Node
from policyd_compilers.haproxy.access_log import NODE
from policyd_compilers.haproxy.names import DECISIONS, NODE_FILE, PROCESS
from policyd_compilers.haproxy.text import artifact, section, word

DRAIN_S = 5
"""How long a process that was replaced may finish what it has begun; then its connections, and its rules, end."""
MAX_HEADERS = 100
BUFFER = 65_536
RESERVED = 4_096
"""60 KiB of headers fit into a buffer, as in the other data planes; the rest is for what is added to a request."""
MAX_STREAMS = 1_024
LOG_LENGTH = 16_384
RULES_COUNTED = 4_096
_ERRORS = {
    400: "bad-request",
    408: "request-timeout",
    500: "internal-error",
    502: "bad-gateway",
    503: "upstream-unavailable",
    504: "upstream-timeout",
}
"""What HAProxy itself answers with, and how the reply names it."""


def node(of: Node) -> Artifact:
    """The file that says which node this is: all that its logs need to know, and the others share the rest."""
    return artifact(NODE_FILE, [section("global", [f"setenv {NODE} {word(of.id)}"])])


@cache
def process() -> Artifact:
    """The file with `global`, `defaults` and the table of decisions."""
    shared = [
        "default-path config",
        f"log stdout len {LOG_LENGTH} format raw local0 info",
        f"hard-stop-after {DRAIN_S}s",
        f"tune.bufsize {BUFFER}",
        f"tune.maxrewrite {RESERVED}",
        f"tune.http.maxhdr {MAX_HEADERS}",
        f"tune.h2.max-concurrent-streams {MAX_STREAMS}",
        "# A resumed session skips the check of the client's certificate; a full handshake each time does not.",
        "tune.ssl.cachesize 0",
        "ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets",
        "ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets",
    ]
    defaults = [
        "mode http",
        "log global",
        "option dontlognull",
        "timeout http-request 10s",
        *(
            f"""http-error status {status} content-type application/json string '{{"error":{{"reason":"{name}"}}}}'"""
            for status, name in _ERRORS.items()
        ),
    ]
    table = [f"stick-table type string len 160 size {RULES_COUNTED} store http_req_cnt"]
    return artifact(
        PROCESS,
        [section("global", shared), section("defaults", defaults), section(f"backend {DECISIONS}", table)],
    )
