"""Tell many sockets' handlers that their socket is ready, inside an asyncio loop.

    asyncio loop ──one reader──▶ epoll ──▶ handler(events) per socket

An epoll of our own costs one callback of the loop for a whole batch of ready sockets,
where `loop.add_reader` costs one for each, and a handler can be exchanged without a
system call. Level-triggered, unless CHANGES are asked for. Does not own the sockets:
whoever adds one takes it out before closing it.
"""

import asyncio
from collections.abc import Callable
import logging
import select
import time

_LOGGER = logging.getLogger(__name__)
_BATCH = 256  # events in one go; the loop's other work waits for so many handlers
_BATCH_AFTER_OTHERS = 32
# A byte is rarely alone: after some came, wait here for the next instead of going once
# around the whole asyncio loop for each. The loop's other work waits for this long at
# most, and a small request takes about a tenth less time.
_LINGER_S = 0.001
_STAY_S = 0.004

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
ENDED = select.EPOLLRDHUP  # the peer sends nothing more, though bytes may be left
INCOMING = READABLE | ENDED
CHANGES = select.EPOLLET  # with others: when they come up, and not as long as they last

Handler = Callable[[int], None]


class Poller:
    """Dispatch readiness. Not thread-safe; lives in one loop.

    Events are hints: what was ready may not be any more, so a handler must be ready for
    a read that would block.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, after_others: bool = False
    ) -> None:
        """Register with a loop.

        after_others: for sockets that strangers open, of which thousands may be ready
        at once. Few of them are looked at in each turn of the loop.
        """
        self._loop = loop
        self._batch = _BATCH_AFTER_OTHERS if after_others else _BATCH
        self._lingers = not after_others
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._fresh: set[int] = set()  # added since the events at hand were asked for
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    def __len__(self) -> int:
        return len(self._handlers)

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """Call handler(events) whenever fd has one of the events. Raises OSError."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler
        self._fresh.add(fd)

    def set_handler(self, fd: int, handler: Handler) -> None:
        """Exchange the handler of a descriptor that was added before."""
        self._handlers[fd] = handler

    def set_events(self, fd: int, events: int) -> None:
        """Exchange the events of a descriptor that was added before."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget a descriptor; to be called before it is closed. Twice does no harm."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def forget(self, fd: int) -> None:
        """Forget a descriptor that the caller closes next, and that has no duplicate.

        Closing takes it out of the epoll too, so this saves a system call.
        """
        self._handlers.pop(fd, None)

    def close(self) -> None:
        """Stop dispatching. Leaves the sockets open."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._handlers.clear()

    def _dispatch(self) -> None:
        ready = self._epoll.poll(0, self._batch)
        leave_at = time.monotonic() + _STAY_S
        while ready:
            self._handle(ready)
            if not self._lingers or time.monotonic() > leave_at:
                return
            ready = self._epoll.poll(_LINGER_S, _BATCH)

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        handlers, fresh = self._handlers, self._fresh
        fresh.clear()
        for fd, events in ready:
            handler = handlers.get(fd)
            if handler is None or fd in fresh:  # closed; perhaps another has its number
                continue
            try:
                handler(events)
            except Exception:
                # A bug that one socket met must not stop all others. Without its
                # registration the socket cannot spin; its owner's deadline closes it.
                _LOGGER.exception("A handler failed; its socket is no longer served")
                if handlers.get(fd) is handler:
                    self.remove(fd)
