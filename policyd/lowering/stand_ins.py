"""What a call that was made for one service meets at another one: for fallbacks, and for the targets of routes."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.model.service import Service


def differences(service: Service, there: Service, other: str) -> Iterator[tuple[str, str]]:
    """What may make some of the calls fail that were made for `service`: each with a hint.

    A call arrives unchanged, with the host and the port that the caller named. `other` is what `there` is called in
    the messages.
    """
    here = service.name.name
    if service.port != there.port:
        yield f"calls to `{here}` name port {service.port}, `{other}` has {there.port}", "give both one port"
    if service.opaque_paths and not there.opaque_paths:
        yield (
            f"`{here}` has `opaquePaths`, and `{other}` answers 400 to paths that are not canonical",
            f"say the same in `{other}`",
        )
    if missing := sorted(set(service.upgrades) - set(there.upgrades)):
        yield f"`{here}` switches to {', '.join(missing)}, and `{other}` refuses to", f"say the same in `{other}`"
