"""The pull request that a GitHub job runs for: its number, its comments, the job's summary and outputs.

All of it is told by the runner's environment (GitHub's reference "Variables", "Default environment variables"). One
comment is kept up to date instead of adding another for every push; it is found again by a mark that no page shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from policyd.base.errors import PolicydError, UsageError

MARK = "<!-- policyd review{} -->"
_PAGE, _PAGES = 100, 20
_TIMEOUT_S = 10.0
_NOT_ALLOWED = frozenset({401, 403, 404})


class NotAllowed(PolicydError):
    """The token may not comment: that of a pull request from a fork may only read."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a job. `number` is 0 where it does not run for a pull request, and files are `None` where unset."""

    repository: str
    number: int
    api: str
    token: str = field(repr=False)
    summary: Path | None
    outputs: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Job | None:
        """The job that this process is a part of; `None` outside of GitHub's runners."""
        if environment.get("GITHUB_ACTIONS") != "true":
            return None
        return cls(
            repository=environment.get("GITHUB_REPOSITORY", ""),
            number=_number(environment.get("GITHUB_EVENT_PATH", "")),
            api=environment.get("GITHUB_API_URL", "") or "https://api.github.com",
            token=environment.get("GITHUB_TOKEN", ""),
            summary=_file(environment.get("GITHUB_STEP_SUMMARY", "")),
            outputs=_file(environment.get("GITHUB_OUTPUT", "")),
        )

    def summarise(self, markdown: str) -> None:
        """Add to the job's summary page."""
        _append(self.summary, f"{markdown}\n")

    def put_out(self, **values: int) -> None:
        """Set outputs of the step."""
        _append(self.outputs, "".join(f"{name}={value}\n" for name, value in values.items()))

    def comment(self, markdown: str, about: str, *, worth_it: bool) -> bool:
        """Bring the comment up to date; one that is not `worth_it` is not begun. Returns whether there is one now.

        `about` tells several reviews of one pull request apart. Raises `NotAllowed` where the token does not suffice,
        `PolicydError` where GitHub does not answer.
        """
        mark = MARK.format(f" of {about}" if about else "")
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        with httpx.Client(base_url=self.api, headers=headers, timeout=_TIMEOUT_S) as http:
            try:
                known = _find(http, f"/repos/{self.repository}/issues/{self.number}/comments", mark)
                if known is None and not worth_it:
                    return False
                _put(http, self.repository, self.number, known, f"{mark}\n{markdown}")
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                kind = NotAllowed if status in _NOT_ALLOWED else PolicydError
                raise kind(f"GitHub answers {status} to the comment") from error
            except (httpx.HTTPError, ValueError) as error:
                raise PolicydError(f"GitHub does not answer: {str(error) or type(error).__name__}") from error
        return True


def _find(http: httpx.Client, path: str, mark: str) -> int | None:
    """The comment with the mark. Only a bot's counts: what a person wrote stays theirs, whatever it begins with."""
    for page in range(1, _PAGES + 1):
        answer = http.get(path, params={"per_page": _PAGE, "page": page}).raise_for_status()
        comments: list[dict[str, Any]] = orjson.loads(answer.content)
        for comment in comments:
            if comment["user"]["type"] == "Bot" and str(comment["body"]).startswith(mark):
                return int(comment["id"])
        if len(comments) < _PAGE:
            return None
    return None


def _put(http: httpx.Client, repository: str, number: int, known: int | None, body: str) -> None:
    if known is None:
        http.post(f"/repos/{repository}/issues/{number}/comments", json={"body": body}).raise_for_status()
    else:
        http.patch(f"/repos/{repository}/issues/comments/{known}", json={"body": body}).raise_for_status()


def _number(event: str) -> int:
    """The number in the event's file; 0 where the event is about no pull request. Raises `UsageError` for no file."""
    if not event:
        return 0
    try:
        return int((orjson.loads(Path(event).read_bytes()).get("pull_request") or {}).get("number", 0))
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"`{event}` does not say which event this is: {error}") from error


def _file(path: str) -> Path | None:
    return Path(path) if path else None


def _append(file: Path | None, text: str) -> None:
    if file is None:
        return
    try:
        with file.open("a", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise UsageError(f"`{file}` cannot be written: {error.strerror}") from error
