"""Carry a visitor of a TCP forward over a sealed channel.

    visitor ──recv──▶ TLS write ──send──▶ channel
    visitor ◀──send── TLS read ◀──recv── channel

The relay is the TLS client, the home's edge the server (docs/protocol.md §8). What a
sink does not take at once is kept, at most one buffer for each direction, and its
source is not read until it is gone. End of stream is SHUT_WR towards the visitor and
close_notify towards the home (RFC 8446 §6.1), so half-close survives; a channel that
ends without close_notify was cut, and cuts the visitor. Knows no ports or names.
"""

import contextlib
import hashlib
import logging
import socket
import ssl
import struct

from hearthgate.poller import READABLE, WRITABLE, Handler, Poller
from hearthgate.relay.pump import KIB, PairDone, Pump

_LOGGER = logging.getLogger(__name__)

# TLS records have 16 KiB; more than a few at once only wait in the next buffer.
_VISITOR_BYTES = 128 * KIB
_PLAIN = memoryview(bytearray(256 * KIB))  # nothing stays in it between two calls
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Seal:
    """The relay's end of TLS on one channel, without a socket."""

    def __init__(self, context: ssl.SSLContext, name: str, home_id: str) -> None:
        """Make the hello. `home_id` is the SHA-256 of the certificate to expect."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._home_id = home_id
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name
        )
        self.is_open = False
        self.has_ended = False  # close_notify was read
        self._shake()

    def unsent(self) -> bytes:
        """Return what is to be sent to the home."""
        return self._outgoing.read()

    def feed(self, data: memoryview) -> None:
        """Take what came from the home. Raises SSLError: this is not the home."""
        self._incoming.write(data)
        if not self.is_open:
            self._shake()

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        shown = self._tls.getpeercert(binary_form=True)
        if hashlib.sha256(shown or b"").hexdigest() != self._home_id:
            raise ssl.SSLError("another certificate than the one of this home")
        self.is_open = True

    def read_into(self, buffer: memoryview) -> int:
        """Decrypt; return how many bytes, 0 if there is nothing or the stream ended.

        Raises SSLError for what was tampered with.
        """
        size = 0
        try:
            while size < len(buffer):
                got = self._tls.read(len(buffer) - size, buffer[size:])
                if not got:
                    self.has_ended = True
                    break
                size += int(got)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        return size

    def write(self, data: memoryview) -> None:
        """Encrypt into `unsent`."""
        self._tls.write(data)

    def end(self) -> None:
        """Put a close_notify into `unsent`. All that came must have been read."""
        # What the home sends may go on, so its close_notify is not waited for.
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()


class SealedPair:
    """A visitor and its sealed channel. Closed once, by whoever is first."""

    __slots__ = (
        "_channel",
        "_channel_events",
        "_channel_pending",
        "_ending",
        "_more",
        "_on_done",
        "_poller",
        "_pump",
        "_seal",
        "_visitor",
        "_visitor_ended",
        "_visitor_events",
        "_visitor_pending",
        "_visitor_shut",
        "closed",
        "tick",
    )

    def __init__(
        self,
        pump: Pump,
        visitor: socket.socket,
        channel: socket.socket,
        seal: Seal,
        on_done: PairDone,
    ) -> None:
        """Take both sockets; the channel is in the poller already, for READABLE."""
        self._pump = pump
        self._poller: Poller = pump.poller
        self._visitor = visitor
        self._channel = channel
        self._seal = seal
        self._on_done = on_done
        self._visitor_events = 0
        self._channel_events = READABLE
        self._visitor_pending: bytes | memoryview = b""  # plain
        self._channel_pending: bytes | memoryview = b""  # sealed
        self._visitor_ended = False  # its end of stream was read
        self._visitor_shut = False  # and the home's was passed on
        self._ending = False  # close_notify was sent
        self._more = False  # the seal may hold more than the visitor took
        self.closed = False
        self.tick = pump.tick
        pump.pairs.add(self)

    def begin(self, unsent: bytes | memoryview) -> None:
        """Carry bytes until both streams ended. May close at once."""
        self._poller.set_handler(self._channel.fileno(), self._on_channel)
        if unsent:
            self._channel_pending = unsent
            self._want_channel(READABLE | WRITABLE)
        self._read_channel()

    # --- from the home ------------------------------------------------------------

    def _on_channel(self, events: int) -> None:
        if events & WRITABLE and self._channel_pending:
            self._flush_channel()
        if not self.closed and events & ~WRITABLE and self._channel_events & READABLE:
            self._read_channel()

    def _read_channel(self) -> None:
        pump = self._pump
        try:
            size = self._channel.recv_into(pump.buffer)
        except BlockingIOError:
            return
        except OSError:
            self._cut()
            return
        if not size:
            self._channel_is_through()
            return
        self.tick = pump.tick
        was_open = self._seal.is_open
        try:
            self._seal.feed(pump.view[:size])
        except ssl.SSLError as err:
            self._broken(err)
            return
        if not self._seal.is_open:
            return
        if not was_open:
            self._send_channel()  # the end of the handshake
            if self.closed:
                return
            self._want_visitor(READABLE)
        self._unseal()

    def _channel_is_through(self) -> None:
        """Take that nothing more comes; bytes may still go the other way."""
        if not self._seal.has_ended:
            self._cut()
        else:
            self._want_channel(self._channel_events & ~READABLE)

    def _unseal(self) -> None:
        """Pass on what the home has sent, as far as the visitor takes it."""
        while True:
            try:
                size = self._seal.read_into(_PLAIN)
            except ssl.SSLError as err:
                self._broken(err)
                return
            if size and not self._send_visitor(_PLAIN[:size]):
                return
            if self._seal.has_ended:
                self._end_visitor()
                return
            if size < len(_PLAIN):
                break
        self._more = False
        if self._visitor_ended and not self._ending:
            self._end_channel()

    def _send_visitor(self, data: memoryview) -> bool:
        """Send; False if it has to wait, or the pair is closed."""
        try:
            sent = self._visitor.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return False
        if sent == len(data):
            return True
        self._visitor_pending = bytes(data[sent:])
        self._more = True
        self._want_visitor(self._visitor_events | WRITABLE)
        self._want_channel(self._channel_events & ~READABLE)
        return False

    def _end_visitor(self) -> None:
        """Pass on the end of the home's stream."""
        self._more = False
        if self._visitor_shut:
            return
        self._visitor_shut = True
        if self._ending and not self._channel_pending:
            self.close()
            return
        try:
            self._visitor.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        if self._visitor_ended and not self._ending:
            self._end_channel()

    # --- from the visitor -----------------------------------------------------------

    def _on_visitor(self, events: int) -> None:
        if events & WRITABLE and self._visitor_pending:
            self._flush_visitor()
        if not self.closed and events & ~WRITABLE and self._visitor_events & READABLE:
            self._read_visitor()

    def _flush_visitor(self) -> None:
        try:
            sent = self._visitor.send(self._visitor_pending)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self.tick = self._pump.tick
        if sent < len(self._visitor_pending):
            self._visitor_pending = memoryview(self._visitor_pending)[sent:]
            return
        self._visitor_pending = b""
        self._want_visitor(self._visitor_events & ~WRITABLE)
        if not self._seal.has_ended:
            self._want_channel(self._channel_events | READABLE)
        self._unseal()

    def _read_visitor(self) -> None:
        pump = self._pump
        try:
            size = self._visitor.recv_into(pump.buffer, _VISITOR_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._cut()
            return
        self.tick = pump.tick
        if not size:
            self._visitor_ended = True
            self._want_visitor(self._visitor_events & ~READABLE)
            # What came before the end must be read first, see Seal.end.
            if not self._more:
                self._end_channel()
            return
        self._seal.write(pump.view[:size])
        self._send_channel()

    def _end_channel(self) -> None:
        """Pass on the end of the visitor's stream."""
        self._ending = True
        try:
            self._seal.end()
        except ssl.SSLError as err:
            self._broken(err)
            return
        self._send_channel()

    def _send_channel(self) -> None:
        """Send what the seal has made."""
        data: bytes | memoryview = self._seal.unsent()
        if self._channel_pending:
            self._channel_pending = bytes(self._channel_pending) + data
            return
        try:
            sent = self._channel.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._cut()
            return
        if sent < len(data):
            self._channel_pending = memoryview(data)[sent:]
            self._want_channel(self._channel_events | WRITABLE)
            self._want_visitor(self._visitor_events & ~READABLE)
        elif self._ending and self._visitor_shut:
            self.close()

    def _flush_channel(self) -> None:
        try:
            sent = self._channel.send(self._channel_pending)
        except BlockingIOError:
            return
        except OSError:
            self._cut()
            return
        self.tick = self._pump.tick
        if sent < len(self._channel_pending):
            self._channel_pending = memoryview(self._channel_pending)[sent:]
            return
        self._channel_pending = b""
        self._want_channel(self._channel_events & ~WRITABLE)
        if self._ending and self._visitor_shut:
            self.close()
        elif self._seal.is_open and not self._visitor_ended:
            self._want_visitor(self._visitor_events | READABLE)

    # --- both ------------------------------------------------------------------------

    def _want_visitor(self, events: int) -> None:
        self._visitor_events = self._want(
            self._visitor, self._visitor_events, events, self._on_visitor
        )

    def _want_channel(self, events: int) -> None:
        self._channel_events = self._want(
            self._channel, self._channel_events, events, self._on_channel
        )

    def _want(
        self, sock: socket.socket, old: int, events: int, handler: Handler
    ) -> int:
        """Ask for events; none takes the socket out, for EPOLLHUP would spin."""
        if events == old:
            return events
        if not old:
            self._poller.add(sock.fileno(), events, handler)
        elif not events:
            self._poller.remove(sock.fileno())
        else:
            self._poller.set_events(sock.fileno(), events)
        return events

    def _broken(self, err: ssl.SSLError) -> None:
        _LOGGER.warning("A sealed channel was broken: %s", err)
        self._cut()

    def _cut(self) -> None:
        """End a stream that is not through: the visitor must be able to tell."""
        if not self.closed:
            self._visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def close(self) -> None:
        """Close both sockets and report; what is pending is lost."""
        if self.closed:
            return
        self.closed = True
        if self._visitor_events:
            self._poller.forget(self._visitor.fileno())
        if self._channel_events:
            self._poller.forget(self._channel.fileno())
        self._visitor.close()
        self._channel.close()
        self._visitor_pending = self._channel_pending = b""
        self._pump.left(self)
        self._on_done(self)
