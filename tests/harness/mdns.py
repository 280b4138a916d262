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

from collections.abc import Mapping
import contextlib
import os
from pathlib import Path
import shutil
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Self
from xml.sax.saxutils import escape, quoteattr

__all__ = ["Avahi", "AvahiError"]

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
            f"<service-group><name replace-wildcards={quoteattr('no')}>{escape(name)}"
            f"</name><service>{''.join(lines)}</service></service-group>\n"
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
