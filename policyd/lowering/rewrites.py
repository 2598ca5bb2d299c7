"""What a rewrite cannot say of a path, whoever makes it: a route of a service or one of a gateway."""

from __future__ import annotations

from policyd.model.paths import PathPattern
from policyd.model.route_actions import Rewrite


def untold(rewrite: Rewrite, pattern: PathPattern) -> tuple[str, str, bool] | None:
    """Why no proxy could tell what arrives, a hint, and whether it is about the rewrite's path; `None` if one can."""
    if pattern.rest and None in pattern.segments:
        return (
            f"what a rewrite puts in the place of `{pattern}` cannot be told: its beginning has a `{{name}}`",
            "rewrite a path such as `/v1/**`, or a whole path without `/**`",
            False,
        )
    if pattern.rest and rewrite.path != "/" and rewrite.path.endswith("/"):
        return (
            f"what follows in `{pattern}` begins with `/` and would arrive as `{rewrite.path}/...`",
            f"write `{rewrite.path.rstrip('/')}`",
            True,
        )
    return None
