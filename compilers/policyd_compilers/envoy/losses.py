"""What the mesh says and Envoy cannot. The losses that every proxy shares are in `policyd.compiler.losses`."""

from __future__ import annotations

from policyd.compiler import losses
from policyd.compiler.artifact import Loss
from policyd.model.service import Service
from policyd_compilers.envoy.retries import CONDITIONS, is_status

KNOWN = ", ".join(sorted(CONDITIONS)) + ", or a status code"


def of_service(service: Service) -> tuple[Loss, ...]:
    """What is lost of a service, wherever it is compiled."""
    words = [word for word in service.resilience.retries.on if word not in CONDITIONS and not is_status(word)]
    return tuple(losses.of_retry_condition(service, word, "envoy", KNOWN) for word in words)
