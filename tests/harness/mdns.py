"""A real avahi-daemon for tests and the demo, on loopback and out of everybody's way.

    Avahi ─setpriv(dies with us)─▶ unshare -m ─▶ mount /run, services ─▶ avahi-daemon
      publish(name, type, port) ─▶ services/NAME.service ─inotify─▶ 127.0.0.1:5353

avahi's paths for its pid, its socket and its services are fixed when it is built, so
it runs in a mount namespace of its own with a fresh /run and our folder in the place
of /etc/avahi/services. Nothing on the machine changes: loopback needs neither the
multicast flag nor a route, because avahi and zeroconf both name the interface. Needs
root: in a user namespace avahi-daemon can't give its folder to its own user.

Several at a time, and the machine's own avahi-daemon, are fine: they share port 5353
and multicast reaches all. But whoever announces 127.0.0.1 claims its reverse record,
so ours all use one host name; a second one makes avahi rename itself without end. The
machine's own stays off loopback unless it has no other network; then ours can't start
and says so.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
import contextlib
import ctypes
from dataclasses import dataclass
from ipaddress import ip_address
import os
from pathlib import Path
import shutil
import socket
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Self, TypeVar
from xml.sax.saxutils import escape

from zeroconf import const
from zeroconf._dns import DNSAddress, DNSPointer, DNSService, DNSText
from zeroconf._protocol.outgoing import DNSOutgoing

__all__ = ["Announced", "Announcer", "Avahi", "AvahiError", "in_own_network", "ip"]

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000  # linux/sched.h

_READY_S = 20.0
_STOP_S = 5.0
_MOUNT = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/avahi-daemon
mount --bind "$1" /etc/avahi/services
exec avahi-daemon -f "$2" --no-chroot --no-drop-root --no-rlimits
"""
_CONFIG = """\
[server]
host-name=hearthgate-loopback
use-ipv4=yes
use-ipv6=no
allow-interfaces=lo
enable-dbus=no
disallow-other-stacks=no
ratelimit-burst=5000
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
publish-aaaa-on-ipv4=no
"""


class AvahiError(RuntimeError):
    """Raise if avahi-daemon is missing, or ended by itself."""


class Avahi:
    """One private avahi-daemon. A context manager; `stop` says goodbye and reaps it."""

    def __init__(self) -> None:
        """Make the folder; `start` does the rest."""
        self._folder = Path(tempfile.mkdtemp(prefix="hearthgate-avahi-"))
        self._services = self._folder / "services"
        self._services.mkdir()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()
        self._log: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What avahi-daemon said so far."""
        return "".join(self._log)

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start, and return when it answers. Raises AvahiError."""
        for program in ("avahi-daemon", "unshare", "setpriv", "mount"):
            if shutil.which(program, path=_path()) is None:
                raise AvahiError(f"{program} is not installed")
        if os.geteuid() != 0:
            raise AvahiError("a private avahi-daemon needs root: use sudo")
        if not Path("/etc/avahi/services").is_dir():
            raise AvahiError("/etc/avahi/services is missing: install avahi-daemon")
        config = self._folder / "avahi-daemon.conf"
        config.write_text(_CONFIG, "utf-8")
        namespace = ["unshare", "--mount", "--propagation", "private"]
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "TERM", "--", *namespace, "--"),
                *("sh", "-c", _MOUNT, "avahi", str(self._services), str(config)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": _path(), "LC_ALL": "C"},
        )
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name="avahi log", daemon=True
        )
        self._reader.start()
        if not self._ready.wait(_READY_S) or self._process.poll() is not None:
            log = self.log
            self.stop()
            raise AvahiError(f"avahi-daemon did not start:\n{log}")

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Keep the log and notice readiness, until the process ends. Own thread."""
        if process.stdout is None:
            return
        for line in process.stdout:
            self._log.append(line)
            if "Server startup complete" in line:
                self._ready.set()
        self._ready.set()

    def publish(
        self,
        name: str,
        service_type: str,
        port: int,
        txt: Mapping[str, str] | None = None,
        subtype: str | None = None,
    ) -> None:
        """Announce a service, or change one of this name and type."""
        lines = [f"<type>{escape(service_type)}</type>"]
        if subtype:
            full = f"{subtype}._sub.{service_type}"
            lines.append(f"<subtype>{escape(full)}</subtype>")
        lines.append(f"<port>{port}</port>")
        for key, value in (txt or {}).items():
            lines.append(f"<txt-record>{escape(f'{key}={value}')}</txt-record>")
        text = (
            '<?xml version="1.0" standalone="no"?>\n'
            '<!DOCTYPE service-group SYSTEM "avahi-service.dtd">\n'
            f"<service-group><name>{escape(name)}</name>"
            f"<service>{''.join(lines)}</service></service-group>\n"
        )
        # avahi reads only *.service, so it never sees the half-written file.
        path = self._path_of(name, service_type)
        temporary = path.with_suffix(".new")
        temporary.write_text(text, "utf-8")
        temporary.replace(path)

    def withdraw(self, name: str, service_type: str | None = None) -> None:
        """Say goodbye for a service; without a type for all of this name."""
        kinds = "*" if service_type is None else service_type
        pattern = f"{name.encode().hex()}.{kinds}.service"
        for path in self._services.glob(pattern):
            path.unlink()

    def _path_of(self, name: str, service_type: str) -> Path:
        return self._services / f"{name.encode().hex()}.{service_type}.service"

    def stop(self) -> None:
        """Say goodbye for everything, end the process and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if self._reader is not None:
                self._reader.join(_STOP_S)
            if process.stdout is not None:
                process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _path() -> str:
    """Return PATH with the places of system programs, which users often lack."""
    return f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"


def in_own_network(main: Callable[[], Coroutine[object, object, _T]]) -> _T:
    """Run a coroutine in a thread with a network of its own, and return its result.

    Only its loopback is up, so floods disturb nobody and nobody's services turn up.
    Processes and threads that it starts are in that network as well. Needs root.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="own network") as threads:
        return threads.submit(_alone, main).result()


def _alone(main: Callable[[], Coroutine[object, object, _T]]) -> _T:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:  # of this thread only, see unshare(2)
        number = ctypes.get_errno()
        raise OSError(number, f"no network of our own: {os.strerror(number)}")
    ip("link", "set", "lo", "up")
    return asyncio.run(main())


def ip(*arguments: str) -> None:
    """Change the network of this thread, by the program of the same name."""
    environment = {"PATH": _path()}
    subprocess.run(["ip", *arguments], check=True, timeout=_READY_S, env=environment)


@dataclass(frozen=True, slots=True)
class Announced:
    """The records of one instance; nothing about them is checked."""

    name: str  # at most 63 bytes of UTF-8
    service_type: str
    port: int
    addresses: tuple[str, ...] = ("127.0.0.1",)
    txt: bytes = b""
    server: str = "stranger.local."
    records: bool = True  # False: the name alone, nothing to resolve it by


class Announcer:
    """Say anything over mDNS, as a hostile device could. Answers no questions."""

    def __init__(self, interface: str = "127.0.0.1") -> None:
        """Take the address of the interface to speak on."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here = socket.inet_aton(interface)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def announce(self, announced: Announced, *, ttl_s: int = 4500) -> None:
        """Send one packet with all records of an instance."""
        kind = f"{announced.service_type}.local."
        name = f"{announced.name}.{kind}"
        shared, unique = const._CLASS_IN, const._CLASS_IN | const._CLASS_UNIQUE
        out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
        pointer = DNSPointer(kind, const._TYPE_PTR, shared, ttl_s, name)
        out.add_answer_at_time(pointer, 0)
        if announced.records:
            where = (0, 0, announced.port, announced.server)
            for record in (
                DNSService(name, const._TYPE_SRV, unique, ttl_s, *where),
                DNSText(name, const._TYPE_TXT, unique, ttl_s, announced.txt or b"\0"),
                *(_address(announced.server, each) for each in announced.addresses),
            ):
                out.add_answer_at_time(record, 0)
        for packet in out.packets():
            self._socket.sendto(packet, (const._MDNS_ADDR, const._MDNS_PORT))

    def say_goodbye(self, announced: Announced) -> None:
        """Send the records with a lifetime of 0 (RFC 6762 §10.1)."""
        self.announce(announced, ttl_s=0)


def _address(server: str, text: str) -> DNSAddress:
    address = ip_address(text)
    kind = const._TYPE_A if address.version == 4 else const._TYPE_AAAA
    return DNSAddress(server, kind, const._CLASS_IN, 120, address.packed)
