"""A path between home and relay that can be broken in every way that networks know.

    agent ──▶ FaultyRelay ──▶ relay        the pairing code's address points at us
                 │ control connection, channel or visitor: told by the first bytes
                 ▼
    PASS  BLACKHOLE  THROTTLE (with a delay)  CUT (RST)  REFUSE, for each kind and way

What a blackhole has swallowed is delivered once the path is whole again, as TCP's
retransmissions would; ends of streams as well. The kernel here acknowledges all the
same, so to a relay a blackholed home is one that is silent, not one that is gone.
Listens on loopback, lives in one event loop; not for measuring speed.
"""

import asyncio
from collections.abc import Callable
import contextlib
from dataclasses import dataclass, field
from enum import StrEnum
import socket
import struct
from types import TracebackType
from typing import Self

from hearthgate.wire.constants import CHANNEL_MAGIC, CONTROL_NAME
from hearthgate.wire.hello import Hello, read_hello

LOOPBACK = "127.0.0.1"
_BLOCK_BYTES = 64 * 1024
_FIRST_BYTES_S = 10.0
_AT_ONCE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s, so that close is a RST


class Kind(StrEnum):
    """What a connection carries."""

    CONTROL = "control"
    CHANNEL = "channel"
    VISITOR = "visitor"  # the home's own look at itself


class Way(StrEnum):
    """Which direction."""

    TO_RELAY = "to relay"
    TO_HOME = "to home"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to bytes."""

    blackhole: bool = False
    delay_s: float = 0.0  # of every block
    bytes_per_s: float = 0.0  # 0: as fast as it goes


PASS = Fault()
BLACKHOLE = Fault(blackhole=True)
_EVERYTHING = tuple((kind, way) for kind in Kind for way in Way)


@dataclass(eq=False)
class Link:
    """One connection and its way on."""

    kind: Kind
    home: asyncio.StreamWriter
    relay: asyncio.StreamWriter
    faults: dict[Way, Fault] = field(default_factory=dict)
    carried: int = 0  # bytes, both ways

    def cut(self) -> None:
        """Reset both sides."""
        for writer in (self.home, self.relay):
            _reset(writer)


class FaultyRelay:
    """A TCP relay with faults. An async context manager; ends every connection."""

    def __init__(
        self, port: int, *, host: str = LOOPBACK, listen_port: int = 0
    ) -> None:
        """Lead to the relay at host and port."""
        self.port = listen_port
        self.links: list[Link] = []
        self.accepted = 0
        self.overheard: bytearray | None = None  # what passes, if it is to be kept
        self._host = host
        self._target = port
        self._refused: set[Kind] = set()
        self._faults: dict[tuple[Kind, Way], Fault] = dict.fromkeys(_EVERYTHING, PASS)
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Return what a pairing code has to name instead of the relay."""
        return f"{LOOPBACK}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- faults -----------------------------------------------------------------------

    def of(self, kind: Kind) -> list[Link]:
        """Return the open connections of a kind, the oldest first."""
        return [one for one in self.links if one.kind is kind]

    async def fault(
        self, fault: Fault, *, kind: Kind | None = None, way: Way | None = None
    ) -> None:
        """Do this to all connections there are and will be; None: any."""
        for each_kind, each_way in _EVERYTHING:
            if kind in (None, each_kind) and way in (None, each_way):
                self._faults[each_kind, each_way] = fault
                for link in self.of(each_kind):
                    link.faults.pop(each_way, None)
        await self._tell()

    async def fault_of(self, links: list[Link], fault: Fault) -> None:
        """Do this to some connections only, both ways."""
        for link in links:
            link.faults = dict.fromkeys(Way, fault)
        await self._tell()

    def refuse(self, *kinds: Kind) -> None:
        """Reset new connections of these kinds from now on; without any: none."""
        self._refused = set(kinds)

    def cut(self, kind: Kind | None = None) -> int:
        """Reset what is open; return how many that were."""
        links = [one for one in self.links if kind in (None, one.kind)]
        for link in links:
            link.cut()
        return len(links)

    async def until(self, looks: Callable[[], bool], *, deadline_s: float) -> None:
        """Wait until something holds; looked at whenever a connection comes or goes."""
        async with asyncio.timeout(deadline_s), self._changed:
            await self._changed.wait_for(looks)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # --- carrying ---------------------------------------------------------------------

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        task.set_name("faulty link")
        try:
            self.accepted += 1
            async with asyncio.timeout(_FIRST_BYTES_S):
                kind, first = await self._read_first(reader)
            if kind is None or kind in self._refused:
                _reset(writer)
                return
            await self._link(kind, first, reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # a broken path is this program's trade; its end is in `finally`
        finally:
            self._tasks.discard(task)
            _reset(writer)

    async def _read_first(
        self, reader: asyncio.StreamReader
    ) -> tuple[Kind | None, bytes]:
        """Read until it is clear what this is."""
        first = b""
        while block := await reader.read(_BLOCK_BYTES):
            first += block
            if first.startswith(CHANNEL_MAGIC):
                return Kind.CHANNEL, first
            match read_hello(first, max_bytes=_BLOCK_BYTES):
                case Hello() as hello:
                    is_control = hello.server_name == CONTROL_NAME
                    return Kind.CONTROL if is_control else Kind.VISITOR, first
        return None, first

    async def _link(
        self,
        kind: Kind,
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        back_reader, back_writer = await asyncio.open_connection(
            self._host, self._target
        )
        link = Link(kind, writer, back_writer)
        self.links.append(link)
        await self._tell()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(
                    self._carry(link, Way.TO_RELAY, first, reader, back_writer)
                )
                tasks.create_task(
                    self._carry(link, Way.TO_HOME, b"", back_reader, writer)
                )
        except* OSError:
            pass  # one side is gone, so the other one goes too
        finally:
            self.links.remove(link)
            _reset(back_writer)
            await self._tell()

    async def _carry(
        self,
        link: Link,
        way: Way,
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        block = first or await reader.read(_BLOCK_BYTES)
        while block:
            await self._obey(link, way, len(block))
            link.carried += len(block)
            if self.overheard is not None:
                self.overheard += block
            writer.write(block)
            await writer.drain()
            block = await reader.read(_BLOCK_BYTES)
        await self._obey(link, way, 0)
        if writer.can_write_eof():
            writer.write_eof()

    async def _obey(self, link: Link, way: Way, size: int) -> None:
        """Hold bytes for as long as the fault of this moment wants."""
        if self._fault(link, way).blackhole:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: not self._fault(link, way).blackhole
                )
        fault = self._fault(link, way)
        pause_s = fault.delay_s
        if fault.bytes_per_s:
            pause_s += size / fault.bytes_per_s
        if pause_s:
            await asyncio.sleep(pause_s)

    def _fault(self, link: Link, way: Way) -> Fault:
        return link.faults.get(way) or self._faults[link.kind, way]


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
