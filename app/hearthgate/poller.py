"""Tell many sockets' handlers that their socket is ready, inside an asyncio loop.

    asyncio loop ──one reader──▶ epoll ──▶ handler(events) per socket

An epoll of our own costs one callback of the loop for a whole batch of ready sockets,
where `loop.add_reader` costs one for each, and a handler can be exchanged without a
system call. Level-triggered. Does not own the sockets: whoever adds one takes it out
before closing it.
"""

import asyncio
from collections.abc import Callable
import logging
import select

_LOGGER = logging.getLogger(__name__)
_BATCH = 256  # events in one go; the loop's other work waits for so many handlers
# A byte is rarely alone: after some came, wait here for the next instead of going once
# around the whole asyncio loop for each. Costs the loop's other work this long at most,
# so many times, and takes about a tenth off the time of a small request.
_LINGER_S = 0.001
_ROUNDS = 8

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
HUNG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]


class Poller:
    """Dispatch readiness. Not thread-safe; lives in one loop.

    Events are hints: a descriptor may be closed and its number given to another socket
    within one batch, so a handler must be ready for a read that would block.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    def __len__(self) -> int:
        return len(self._handlers)

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """Call handler(events) whenever fd has one of the events. Raises OSError."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

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
        wait_s = 0.0
        for _ in range(_ROUNDS):
            ready = self._epoll.poll(wait_s, _BATCH)
            if not ready:
                return
            self._handle(ready)
            wait_s = _LINGER_S

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        handlers = self._handlers
        for fd, events in ready:
            handler = handlers.get(fd)
            if handler is None:
                continue
            try:
                handler(events)
            except Exception:
                # A bug that one socket met must not stop all others. Without its
                # registration the socket cannot spin; its owner's deadline closes it.
                _LOGGER.exception("A handler failed; its socket is no longer served")
                if handlers.get(fd) is handler:
                    self.remove(fd)
