"""UDP sockets for many datagrams: big buffers, several datagrams in one system call.

    receive_all ─▶ [(datagram, address)]        send_all ─▶ UDP_SEGMENT where it fits

What the kernel does not take is dropped: that is what UDP does. Knows no content.
"""

import contextlib
import socket
import struct

from hearthgate.wire.datagrams import runs

SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
UDP_SEGMENT, UDP_GRO = 103, 104  # linux/udp.h
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
BUFFER_BYTES = 4 * 1024 * 1024
DATAGRAM_MAX = 65_535
BATCH = 64  # datagrams in one go; then others come first
_SEGMENTS_MAX_BYTES = 60_000
_SIZE = struct.Struct("=H")
_GRO = struct.Struct("=i")
# Nothing stays in it between two calls. A fresh one for each datagram would cost more
# than the system call.
_VIEW = memoryview(bytearray(DATAGRAM_MAX))
_BUFFERS = [_VIEW]
_ANCILLARY = socket.CMSG_SPACE(_GRO.size)

Address = tuple[str, int] | tuple[str, int, int, int]


def udp_socket(host: str) -> socket.socket:
    """Return a non-blocking socket of a host's family, not bound. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        else:
            # A sealed datagram may be a little longer than the line takes: let it be
            # cut in pieces rather than dropped.
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        for force, usual in (
            (SO_RCVBUFFORCE, socket.SO_RCVBUF),
            (SO_SNDBUFFORCE, socket.SO_SNDBUF),
        ):
            try:
                sock.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
            except OSError:  # not root: as much as the system allows
                sock.setsockopt(socket.SOL_SOCKET, usual, BUFFER_BYTES)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError:
        sock.close()
        raise
    return sock


def receive_all(sock: socket.socket) -> list[tuple[bytes, Address]]:
    """Return what is there, about one batch."""
    found: list[tuple[bytes, Address]] = []
    while len(found) < BATCH:
        try:
            got, control, _, address = sock.recvmsg_into(_BUFFERS, _ANCILLARY)
        except OSError:  # nothing there, or an ICMP error of an earlier one
            break
        size = _GRO.unpack_from(control[0][2])[0] if control else got
        if size >= got:
            found.append((bytes(_VIEW[:got]), address))
        else:
            found += [
                (bytes(_VIEW[at : min(at + size, got)]), address)
                for at in range(0, got, size)
            ]
    return found


def send_all(
    sock: socket.socket, datagrams: list[bytes], address: Address | None = None
) -> int:
    """Send to an address, or to whom the socket is connected; return how many went."""
    sent = 0
    for start, end in runs(datagrams, _SEGMENTS_MAX_BYTES):
        part = datagrams[start:end]
        if len(part) > 1:
            size = _SIZE.pack(len(part[0]))
            segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, size)]
            if _send(sock, part, segment, address):
                sent += len(part)
                continue
        sent += sum(_send(sock, [one], [], address) for one in part)
    return sent


def _send(
    sock: socket.socket,
    parts: list[bytes],
    control: list[tuple[int, int, bytes]],
    address: Address | None,
) -> bool:
    try:
        if address is None:
            sock.sendmsg(parts, control)
        else:
            sock.sendmsg(parts, control, 0, address)
    except OSError:  # full, unreachable, or too long for the line
        return False
    return True
