"""Take what aiohttp wants to log about requests: a stranger's mistake is no bug.

    broken HTTP ──▶ counted, logged once per period      anything else ──▶ the log

Without this, each line of garbage on port 80 would cost the log a traceback.
"""

import logging

from aiohttp.http_exceptions import HttpProcessingError

from hearthgate.relay.counters import Counters


class RequestLog(logging.Logger):
    """A logger for aiohttp's connection handlers, which log what they cannot read."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(__name__)
        self.parent = logging.getLogger(__package__)
        self._counters = counters

    def handle(self, record: logging.LogRecord) -> None:
        """Count a broken request; pass on everything else."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            super().handle(record)
        elif record.levelno >= logging.WARNING:
            address = record.args[0] if isinstance(record.args, tuple) else ""
            self._counters.refuse("a broken request", address=str(address))
