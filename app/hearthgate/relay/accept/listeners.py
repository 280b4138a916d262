"""Open the relay's listening sockets, or take over those that are there already.

Accepts nothing; that is the acceptor's work.
"""

import errno
import logging
import socket

from hearthgate.errors import HearthgateError
from hearthgate.relay.accept.acceptor import listen

_LOGGER = logging.getLogger(__name__)
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class PortInUseError(HearthgateError):
    """Raise if a port cannot be listened on."""

    code = "port_not_available"
    message = "The relay cannot listen on {host} port {port}: {reason}."
    hint = (
        "Stop what uses the port (ss -ltnp shows it), or choose another one with "
        "--https-port and --http-port."
    )


def open_listeners(
    hosts: tuple[str, ...], port: int, inherited: list[socket.socket]
) -> list[socket.socket]:
    """Listen on each address; one that this machine does not have is left out.

    With port 0 the system picks one, and all addresses get the same. A socket that is
    there already is taken out of `inherited`. Raises PortInUseError.
    """
    listeners: list[socket.socket] = []
    for host in hosts:
        try:
            listener = take(inherited, host, port, socket.SOCK_STREAM)
            listener = listener or listen(host, port)
        except OSError as err:
            if err.errno in _NO_SUCH_ADDRESS and len(hosts) > 1:
                _LOGGER.info("Not listening on %s: %s", host, err.strerror)
                continue
            for other in listeners:
                other.close()
            raise PortInUseError(
                host=host, port=port, reason=err.strerror or str(err)
            ) from err
        listeners.append(listener)
        port = listener.getsockname()[1]
    if not listeners:
        raise PortInUseError(
            host=", ".join(hosts), port=port, reason="this machine has no such address"
        )
    return listeners


def take(
    inherited: list[socket.socket], host: str, port: int, kind: socket.SocketKind
) -> socket.socket | None:
    """Take the socket that is bound to an address out of the inherited ones."""
    for listener in inherited:
        if listener.type is kind and listener.getsockname()[:2] == (host, port):
            inherited.remove(listener)
            return listener
    return None
