"""GitHub's API for the comments of one pull request, as far as a review uses it; the sibling of the real one.

`GET` and `POST /repos/{owner}/{repo}/issues/{number}/comments`, `PATCH /repos/{owner}/{repo}/issues/comments/{id}`
(GitHub REST API, version 2022-11-28, "Issue comments"): pages, authorisation, and who may change what.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "shop/mesh"
WRITES, READS = "may-write", "may-read"
"""Tokens: of a pull request from this repository, and from a fork."""


class GitHub:
    """The comments of pull request 7, oldest first."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.broken = False

    def add(self, body: str, kind: str) -> None:
        self.comments.append({"id": 100 + len(self.comments), "body": body, "user": {"type": kind}})

    def answer(self, method: str, target: str, token: str, sent: dict[str, Any]) -> tuple[int, object]:
        self.calls.append(method)
        if self.broken:
            return 502, {"message": "Server Error"}
        if token not in {WRITES, READS}:
            return 401, {"message": "Bad credentials"}
        if method != "GET" and token != WRITES:
            return 403, {"message": "Resource not accessible by integration"}
        parts = urlsplit(target)
        if parts.path == f"/repos/{REPOSITORY}/issues/7/comments":
            return self._all(method, parse_qs(parts.query), sent)
        one = re.fullmatch(rf"/repos/{REPOSITORY}/issues/comments/(\d+)", parts.path)
        found = [comment for comment in self.comments if one and comment["id"] == int(one[1])]
        if method != "PATCH" or not found:
            return 404, {"message": "Not Found"}
        found[0]["body"] = sent["body"]
        return 200, found[0]

    def _all(self, method: str, query: dict[str, list[str]], sent: dict[str, Any]) -> tuple[int, object]:
        if method == "POST":
            self.add(sent["body"], "Bot")
            return 201, self.comments[-1]
        size = int(query.get("per_page", ["30"])[0])
        begin = size * (int(query.get("page", ["1"])[0]) - 1)
        return 200, self.comments[begin : begin + size]


@contextmanager
def listening(github: GitHub) -> Iterator[str]:
    """Serve it on loopback; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            status, said = github.answer(self.command, self.path, token, json.loads(body or b"{}"))
            answer = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = handle_any  # noqa: N815 - the names are given

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
