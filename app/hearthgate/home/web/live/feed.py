"""Give every page the events of the home, without ever waiting for a page.

    home ──publish──▶ Feed ──put──▶ a bounded queue per page ──▶ live
                              │ full: emptied, and RESYNC put instead

A page that does not keep up loses events, never memory: RESYNC tells its reader to
send the whole state again, which is as good as all the events it missed.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

Event = dict[str, object]
Subscription = asyncio.Queue[Event]

RESYNC: Final = "resync"  # the `type` of the event that asks for a fresh state
# An event is about 1 KB; a switched-on service makes five. 128 are minutes of one
# busy user and at most 128 KB for each page that sleeps.
QUEUE_MAX_EVENTS = 128


class Feed:
    """Spread events over subscriptions. Lives in one loop; publish never blocks."""

    def __init__(self, max_events: int = QUEUE_MAX_EVENTS) -> None:
        """Keep at most max_events waiting for each subscriber."""
        self._max_events = max_events
        self._subscriptions: set[Subscription] = set()

    def publish(self, event: Event) -> None:
        """Put an event into every subscription."""
        for subscription in self._subscriptions:
            offer(subscription, event)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Give a queue that gets every event until the context ends."""
        subscription: Subscription = asyncio.Queue(self._max_events)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)


def offer(subscription: Subscription, event: Event) -> None:
    """Put an event into one subscription, or RESYNC in place of all that wait there."""
    if subscription.full():
        while not subscription.empty():
            subscription.get_nowait()
        event = {"type": RESYNC}  # the state it asks for includes this event
    subscription.put_nowait(event)
