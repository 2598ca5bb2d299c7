"""The log of what happened: a feed that comes to its end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from policyd.rollout.event import Event, EventLog, Kind


def event(text: str) -> Event:
    return Event(datetime(2027, 1, 1, tzinfo=UTC), Kind.SERVED, "", text)


async def test_a_closed_log_ends_its_feeds_after_what_they_were_told_and_late_ones_at_once() -> None:
    log = EventLog(keep=3)
    feed = log.follow()
    first = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)  # a feed begins when it is first asked
    log.add(event("one"))
    log.add(event("two"))
    log.close()
    for _ in range(5):
        log.add(event("after the end"))
    assert (await first).text == "one"
    assert [each.text async for each in feed] == ["two"]
    assert [each async for each in log.follow()] == []
