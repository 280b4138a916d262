"""What strangers' requests leave in our log, and our answers tell of us: little.

    broken HTTP ──▶ counted, logged once per period      anything else ──▶ the log
    every answer, the broken request's too ──▶ no Server header

Without this, each line of garbage on port 80 would cost the log a traceback, and each
answer would name the versions of Python and aiohttp, which only an attacker needs.
"""

import asyncio
import logging

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from hearthgate.relay.counting.refusals import Counters


class _NamelessRequest(web.BaseRequest):
    """A request whose answers, errors too, name no software."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Act right before the headers are written: aiohttp has added its own."""
        response.headers.popall(hdrs.SERVER, None)


def nameless_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    """Make a request for a web.Server, as its request_factory."""
    loop = asyncio.get_running_loop()
    return _NamelessRequest(message, payload, protocol, writer, task, loop)


class RequestLog(logging.Logger):
    """A logger for aiohttp's connection handlers, which log what they cannot read."""

    def __init__(self, counters: Counters) -> None:
        # aiohttp logs a first line that is no HTTP for debugging only.
        super().__init__(__name__, logging.DEBUG)
        self.parent = logging.getLogger(__package__)
        self._counters = counters

    def handle(self, record: logging.LogRecord) -> None:
        """Count a broken request; pass on everything else."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            address = record.args[0] if isinstance(record.args, tuple) else ""
            self._counters.refuse("a broken request", address=str(address))
        elif self.parent is not None and self.parent.isEnabledFor(record.levelno):
            super().handle(record)
