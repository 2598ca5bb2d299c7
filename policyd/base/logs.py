"""Structured logs: one pipeline, configured once by the composition root, never at import."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


def configure_logs(*, json: bool, level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's events to `stream` (standard error by default) as JSON lines or for a terminal.

    Raises `ValueError` for an unknown level name.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level `{level}`")
    out = stream if stream is not None else sys.stderr
    render = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=32)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
