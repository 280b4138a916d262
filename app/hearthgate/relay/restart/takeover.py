"""Let a new process take over from a running one, without refusing a visitor.

    old                          takeover.sock                         new
     │◀───────────────────────────────────────────────────── hello ────│
     │  closes its own socket for commands, lets no edit begin         │
     │── lock, listener… (descriptors), home…, answer…, will ─────────▶│
     │                               reads the folder, accepts visitors│
     │◀───────────────────────────────────────────────────── ready ────│
     │  stops accepting, says goodbye to its homes                     │
     │── arrival, visitor (descriptors) ──────────────────────────────▶│
     │◀─────────────────────────────────────────── cut {hostname} ─────│
     │  lets transfers finish, ends                                    │

Both accept from the *same* listening sockets: the kernel's queue of new connections is
one, belongs to neither and loses nothing, where SO_REUSEPORT gives each process its own
and drops what waits in it at the end. Whoever was let in by the old process but has no
channel yet moves to the new one with what it has said so far. If the new process dies
before it is ready, the old one goes on as if nothing had been. Knows no TLS.
"""

import base64
from collections import deque
from collections.abc import Callable
import contextlib
from dataclasses import dataclass, field
import json
import logging
import os
from pathlib import Path
import socket
from typing import Any, Self

import voluptuous as vol

from hearthgate.errors import HearthgateError
from hearthgate.shared.net.poller import READABLE, WRITABLE, Poller
from hearthgate.shared.storage.private_files import check_socket, clear_socket
from hearthgate.wire.messages import read_forward

_LOGGER = logging.getLogger(__name__)

SOCKET_NAME = "takeover.sock"
VERSION = 1  # of these messages; another one is refused, and the owner restarts plainly
# A flight is 32 KiB at most and becomes 44; a home's 200 hostnames are below 52.
_MESSAGE_MAX_BYTES = 128 * 1024
DEADLINE_S = 30.0  # for the new process to come up; the old one serves meanwhile
_BACKLOG = 1

Message = dict[str, Any]


class TakeOverFailedError(HearthgateError):
    """Raise if the running relay does not hand over."""

    code = "take_over_failed"
    message = "The running relay did not hand over: {reason}."
    hint = "It goes on as before. Stop it and start the new one."


_TEXT = vol.All(str, vol.Length(max=512))
_COUNT = vol.All(int, vol.Range(0, (1 << 53) - 1))
_FIELDS: dict[str, dict[Any, object]] = {
    "hello": {"version": _COUNT},
    "lock": {},
    "listener": {},
    # Ports came later: who does not know them closes the sockets and waits for homes.
    "home": {
        "id": _TEXT,
        "generation": _COUNT,
        "hostnames": [_TEXT],
        vol.Optional("forwards", default=list): [read_forward],
    },
    "answer": {
        "home": _TEXT,
        "hostname": _TEXT,
        "token": _TEXT,
        "key_authorization": _TEXT,
        # By CLOCK_MONOTONIC, which is one for all processes. Came later.
        vol.Optional("expires", default=None): vol.Any(None, float, int),
    },
    "will": {},
    "ready": {},
    "arrival": {},
    "visitor": {
        "flight": vol.All(str, base64.b64decode),
        vol.Optional("forward", default=""): _TEXT,  # the port, instead of a flight
    },
    "cut": {"hostname": _TEXT},
}
_SCHEMAS = {
    kind: vol.Schema({"kind": kind, **fields}, required=True, extra=vol.REMOVE_EXTRA)
    for kind, fields in _FIELDS.items()
}


def _write(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _read(data: bytes) -> Message:
    """Return a checked message. Raises TakeOverFailedError."""
    try:
        message = json.loads(data)
        checked: Message = _SCHEMAS[message["kind"]](message)
    except (ValueError, KeyError, TypeError, RecursionError, vol.Invalid) as err:
        raise TakeOverFailedError(reason="it speaks another version") from err
    return checked


class Link:
    """Messages and descriptors between the two processes. Lives in one loop.

    `send` takes a socket over and closes it once it has left, or cannot.
    """

    def __init__(
        self,
        sock: socket.socket,
        poller: Poller,
        *,
        on_message: Callable[[Message, socket.socket | None], None],
        on_end: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._poller = poller
        self._on_message = on_message
        self._on_end = on_end
        self._outbox: deque[tuple[bytes, socket.socket | int | None]] = deque()
        self.closed = False
        sock.setblocking(False)  # noqa: FBT003  the socket module's own name
        poller.add(sock.fileno(), READABLE, self._ready)

    def send(self, message: Message, passed: socket.socket | int | None = None) -> None:
        """Queue a message; a descriptor given as a number stays the caller's."""
        if self.closed:
            if isinstance(passed, socket.socket):
                passed.close()
            return
        self._outbox.append((_write(message), passed))
        self._flush()

    def _ready(self, events: int) -> None:
        if events & WRITABLE:
            self._flush()
        if events & ~WRITABLE and not self.closed:
            self._receive()

    def _flush(self) -> None:
        while self._outbox and not self.closed:
            data, passed = self._outbox[0]
            number = passed.fileno() if isinstance(passed, socket.socket) else passed
            try:
                if number is None:
                    self._sock.send(data)
                else:
                    socket.send_fds(self._sock, [data], [number])
            except BlockingIOError:
                break
            except OSError as err:
                _LOGGER.warning("The other relay process is gone: %s", err.strerror)
                self.close()
                return
            self._outbox.popleft()
            if isinstance(passed, socket.socket):
                passed.close()
        if not self.closed:
            more = WRITABLE if self._outbox else 0
            self._poller.set_events(self._sock.fileno(), READABLE | more)

    def _receive(self) -> None:
        try:
            message, passed = receive(self._sock)
        except BlockingIOError:
            return
        except (OSError, EOFError):
            self.close()
            return
        except TakeOverFailedError as err:
            _LOGGER.warning("%s", err)
            self.close()
            return
        self._on_message(message, passed)

    def close(self) -> None:
        """End the link and whatever did not leave by it. Twice does no harm."""
        if self.closed:
            return
        self.closed = True
        self._poller.remove(self._sock.fileno())
        self._sock.close()
        for _, passed in self._outbox:
            if isinstance(passed, socket.socket):
                passed.close()
        self._outbox.clear()
        self._on_end()


def receive(sock: socket.socket) -> tuple[Message, socket.socket | None]:
    """Return the next message and the descriptor that came with it, as a socket.

    Raises EOFError at the end, OSError, TakeOverFailedError.
    """
    data, descriptors, flags, _ = socket.recv_fds(
        sock, _MESSAGE_MAX_BYTES, 4, socket.MSG_CMSG_CLOEXEC
    )
    if not data:
        raise EOFError
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise TakeOverFailedError(reason="a message did not fit")
        message = _read(data)
        passed = descriptors.pop(0) if descriptors else None
    finally:
        for number in descriptors:
            os.close(number)
    if passed is None:
        return message, None
    if message["kind"] == "lock":
        message["descriptor"] = passed
        return message, None
    return message, socket.socket(fileno=passed)


@dataclass(slots=True)
class Inheritance:
    """What a running relay has handed over."""

    sock: socket.socket
    lock: int = -1
    listeners: list[socket.socket] = field(default_factory=list)
    homes: list[Message] = field(default_factory=list)
    answers: list[Message] = field(default_factory=list)

    def close(self) -> None:
        """Give back what nobody has taken over."""
        self.sock.close()
        for listener in self.listeners:
            listener.close()
        if self.lock >= 0:
            os.close(self.lock)


def inherit(folder: Path) -> Inheritance | None:
    """Ask the relay that runs on a data folder to hand over; None if none runs.

    Blocking: there is nothing else to do. Raises TakeOverFailedError, and NotOursError
    if something else is where its socket belongs.
    """
    check_socket(folder / SOCKET_NAME)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(DEADLINE_S)
    try:
        sock.connect(str(folder / SOCKET_NAME))
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except OSError as err:
        sock.close()
        raise TakeOverFailedError(reason=err.strerror or str(err)) from err
    found = Inheritance(sock)
    try:
        sock.send(_write({"kind": "hello", "version": VERSION}))
        while _take(found, *receive(sock)):
            pass
    except (OSError, EOFError) as err:
        found.close()
        reason = "it has ended the connection" if isinstance(err, EOFError) else err
        raise TakeOverFailedError(reason=reason) from err
    except TakeOverFailedError:
        found.close()
        raise
    return found


def _take(found: Inheritance, message: Message, passed: socket.socket | None) -> bool:
    """Keep one thing; False once there are no more."""
    match message["kind"]:
        case "lock":
            found.lock = message["descriptor"]
        case "listener" if passed is not None:
            found.listeners.append(passed)
        case "home":
            found.homes.append(message)
        case "answer":
            found.answers.append(message)
        case "will":
            if found.lock < 0 or not found.listeners:
                raise TakeOverFailedError(reason="it has nothing to hand over")
            return False
        case _:
            raise TakeOverFailedError(reason="it speaks another version")
    return True


class TakeoverListener:
    """Wait at takeover.sock for a successor. Only who may write the folder gets in."""

    def __init__(
        self, folder: Path, poller: Poller, on_knock: Callable[[socket.socket], None]
    ) -> None:
        self._path = folder / SOCKET_NAME
        self._poller = poller
        self._on_knock = on_knock
        self._listener: socket.socket | None = None

    def open(self) -> Self:
        """Begin to listen; the caller has locked the folder."""
        self.close()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        clear_socket(self._path)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003
        self._poller.add(listener.fileno(), READABLE, self._accept)
        self._listener = listener
        return self

    def _accept(self, _events: int) -> None:
        if self._listener is None:
            return
        with contextlib.suppress(OSError):  # it has gone already
            self._on_knock(self._listener.accept()[0])

    def close(self, *, unlink: bool = True) -> None:
        """Stop listening. With unlink false, the path is the successor's by now."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._poller.remove(listener.fileno())
        listener.close()
        if unlink:
            with contextlib.suppress(HearthgateError):  # the next start removes it
                clear_socket(self._path)
