"""What a long-running process of ours does at its start and at its end."""

import asyncio
from collections.abc import Iterator
import contextlib
import gc
import logging
import resource
import signal

_LOGGER = logging.getLogger(__name__)
_COLLECT_AFTER_OBJECTS = 20_000  # about 5 MB at the most


def allow_many_descriptors() -> int:
    """Raise the soft limit of open descriptors to the hard one; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def collect_garbage_rarely() -> None:
    """Leave what the start has made out of garbage collection, and collect less often.

    A visitor makes some dozens of objects that refer to each other; Python's defaults
    would look through all of them for every few visitors.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_OBJECTS, 20, 20)


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
    """Set an event on SIGTERM and SIGINT. A second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = stop or asyncio.Event()

    def stopped(number: int) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        _LOGGER.info("Stopping, because of %s", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
