"""Ask one web server for one thing, and take no more bytes than that is worth.

    connect (TLS) ─▶ GET ─▶ h11 ─▶ Head ─▶ pieces of the body, until the caller stops

Every byte that comes is counted, also those that are no body: interim answers, sizes
of chunks, trailers. A client that reads as much as the socket has let a device hold up
the loop for two seconds with nothing but `100 Continue`. Certificates are not checked:
devices sign their own, and nothing secret is sent. The caller sets the deadline of the
whole.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
import contextlib
from dataclasses import dataclass
import ssl
from typing import Final

import h11
from yarl import URL

from hearthgate.home.discovery.limits import KIB, DiscoveryLimits

__all__ = ["Exchange", "Head", "NotConnectedError", "NotHttpError", "NotTlsError"]

_READ_BYTES: Final = 16 * KIB  # what is parsed at most between two turns of the loop
_EVENTS_PER_TURN: Final = 32


class NotConnectedError(Exception):
    """Raise if nobody is there, or not in time."""


class NotTlsError(Exception):
    """Raise if what is there does not speak TLS as we do."""


class NotHttpError(Exception):
    """Raise if what comes is no HTTP, or too much of it before an answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of the final answer."""

    status: int
    headers: tuple[tuple[str, str], ...]  # names in lower case

    def get(self, name: str) -> str:
        """Return the first header of this lower-case name, else an empty text."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return every header of this lower-case name."""
        return [value for key, value in self.headers if key == name]


class Exchange:
    """One GET on a connection of its own. Only within `exchange`."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        limits: DiscoveryLimits,
    ) -> None:
        self._reader, self._writer = streams
        self._limits = limits
        self._http = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=limits.head_max_bytes
        )
        self._events = 0
        self.ended = False  # the body came to its end
        self._room = limits.head_max_bytes  # bytes that may still come

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: URL, limits: DiscoveryLimits) -> AsyncIterator["Exchange"]:
        """Connect, and close at the end. Raises NotConnectedError, NotTlsError."""
        streams = await _connect(url, limits)
        try:
            yield cls(streams, limits)
        finally:
            # At once: who sends without end must not keep a connection open.
            streams[1].transport.abort()

    async def ask(self, url: URL, headers: Mapping[str, str]) -> Head:
        """Send the request and return the head of the final answer.

        Raises NotHttpError.
        """
        host = url.host_port_subcomponent or ""
        given = [("Host", host), *headers.items(), ("Connection", "close")]
        try:
            request = h11.Request(
                method="GET", target=url.raw_path_qs, headers=list(given)
            )
        except h11.LocalProtocolError as err:
            raise NotHttpError(str(err)) from err
        self._writer.write(self._http.send(request) or b"")
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        try:
            async with contextlib.aclosing(self._received()) as events:
                async for event in events:
                    if isinstance(event, h11.Response):
                        return _head(event)
        except OSError as err:
            raise NotHttpError(str(err)) from err
        raise NotHttpError("too much came before an answer")

    async def body(self, max_bytes: int) -> AsyncIterator[bytes]:
        """Yield the body in pieces, to its end or until it is too much.

        A body that breaks off ends early.
        """
        self._room = max_bytes + self._limits.framing_max_bytes
        self._events = 0
        try:
            async with contextlib.aclosing(self._received()) as events:
                async for event in events:
                    if isinstance(event, h11.Data):
                        yield bytes(event.data)
        except (OSError, NotHttpError):
            return

    async def _received(self) -> AsyncGenerator[h11.Event, None]:
        """Yield what comes until the answer is over or the room is used up."""
        while self._events < self._limits.http_events:
            event = self._next()
            if event is h11.PAUSED:
                return
            if not isinstance(event, h11.Event):  # NEED_DATA
                if self._room <= 0:
                    return
                data = await self._reader.read(min(_READ_BYTES, self._room))
                self._room -= len(data)
                self._http.receive_data(data)
                continue
            if isinstance(event, h11.EndOfMessage):
                self.ended = True
                return
            if isinstance(event, h11.ConnectionClosed):
                return
            self._events += 1
            if self._events % _EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)
            yield event

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as err:
            raise NotHttpError(str(err)) from err


def _head(event: h11.Response) -> Head:
    return Head(
        event.status_code,
        tuple(
            (name.decode("ascii"), value.decode("latin-1"))
            for name, value in event.headers
        ),
    )


async def _connect(
    url: URL, limits: DiscoveryLimits
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    secure = url.scheme == "https"
    try:
        async with asyncio.timeout(limits.connect_deadline_s):
            return await asyncio.open_connection(
                url.host,
                url.port,
                ssl=_trusting() if secure else None,
                limit=_READ_BYTES,
            )
    except ssl.SSLError as err:
        raise NotTlsError(str(err)) from err
    except (ConnectionResetError, BrokenPipeError, ConnectionAbortedError) as err:
        raise (NotTlsError if secure else NotConnectedError)(str(err)) from err
    except (OSError, ValueError) as err:  # TimeoutError and what no resolver can digest
        raise NotConnectedError(str(err)) from err


def _trusting() -> ssl.SSLContext:
    """Return a context that accepts any certificate, as the edge does for services."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # With DHE the other side chooses how large the numbers are that we compute with:
    # 10,000 bits cost a small machine seconds. With ECDHE and RSA it does not.
    context.set_ciphers("DEFAULT:!kDHE")
    context.options |= ssl.OP_NO_RENEGOTIATION  # each would be a handshake more
    return context
