"""Ask name servers, and look at no more of an answer than we could have asked for.

    dnspython ──make_socket──▶ asyncio's socket, whose datagrams and streams are cut

dnspython is Python all the way: an answer of 64 KB takes it seconds in the loop, and of
datagrams that are no answer it reads as many as come. What we ask for (A, AAAA, NS and
CAA) has a kilobyte. Whoever sends more is treated like a server that does not answer.
"""

import socket
from typing import Any

from dns._asyncbackend import Backend, DatagramSocket, StreamSocket
import dns.asyncbackend

__all__ = ["ANSWER_MAX_BYTES", "small_answers"]

ANSWER_MAX_BYTES = 4096  # what resolvers offered by EDNS for twenty years
_DATAGRAMS_MAX = 8  # the answer, and what strays; more is a flood
_LENGTH_BYTES = 2  # in front of an answer over TCP, RFC 1035 §4.2.2


class _Datagrams(DatagramSocket):
    """A datagram socket that drops what is too long."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401  dnspython types none of it
        super().__init__(inner.family, inner.type)
        self._inner = inner
        self._left = _DATAGRAMS_MAX

    async def sendto(self, what: Any, destination: Any, timeout: float | None) -> int:  # noqa: ANN401, ASYNC109  as in the base class
        sent: int = await self._inner.sendto(what, destination, timeout)
        return sent

    async def recvfrom(self, size: int, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109  as in the base class
        while self._left:
            self._left -= 1
            datagram, sender = await self._inner.recvfrom(size, timeout)
            if len(datagram) <= ANSWER_MAX_BYTES:
                return datagram, sender
        raise EOFError("too many datagrams came")

    async def close(self) -> None:
        await self._inner.close()

    async def getpeername(self) -> Any:  # noqa: ANN401  as in the base class
        return await self._inner.getpeername()

    async def getsockname(self) -> Any:  # noqa: ANN401  as in the base class
        return await self._inner.getsockname()


class _Stream(StreamSocket):
    """A stream socket that ends where an answer would be too long."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401  dnspython types none of it
        super().__init__(inner.family, inner.type)
        self._inner = inner
        self._left = _LENGTH_BYTES + ANSWER_MAX_BYTES

    async def sendall(self, what: Any, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109  as in the base class
        return await self._inner.sendall(what, timeout)

    async def recv(self, size: int, timeout: float | None) -> bytes:  # noqa: ASYNC109  as in the base class
        if size > self._left:
            return b""
        data: bytes = await self._inner.recv(size, timeout)
        self._left -= len(data)
        return data

    async def close(self) -> None:
        await self._inner.close()

    async def getpeername(self) -> Any:  # noqa: ANN401  as in the base class
        return await self._inner.getpeername()

    async def getsockname(self) -> Any:  # noqa: ANN401  as in the base class
        return await self._inner.getsockname()


class _SmallAnswers(Backend):
    """asyncio's backend with sockets of ours."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401  dnspython types none of it
        self._inner = inner

    def name(self) -> str:
        return str(self._inner.name())

    def datagram_connection_required(self) -> bool:
        return bool(self._inner.datagram_connection_required())

    async def make_socket(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  as in the base class
        made = await self._inner.make_socket(*args, **kwargs)
        return (_Datagrams if made.type == socket.SOCK_DGRAM else _Stream)(made)

    async def sleep(self, interval: float) -> None:
        await self._inner.sleep(interval)

    async def wait_for(self, awaitable: Any, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109  as in the base class
        return await self._inner.wait_for(awaitable, timeout)


def small_answers() -> Backend:
    """Return the backend for dnspython's resolvers."""
    return _SmallAnswers(dns.asyncbackend.get_backend("asyncio"))
