"""Run a real Mosquitto on loopback, for whom it concerns.

with mosquitto() as port: …        nobody has to log in, nothing is kept
with Mosquitto() as broker: …      the same, with its log, and it can be restarted
"""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import re
import socket
import subprocess
import tempfile
import time
from typing import Self

from tests.harness.hearthgate import ProcessError
from tests.harness.ports import free_port

_START_S = 30.0


class Mosquitto:
    """One broker; a context. Raises ProcessError if it does not answer."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")
        self._log = Path(self._folder.name) / "log"
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        settings = Path(self._folder.name) / "mosquitto.conf"
        settings.write_text(
            f"listener {self.port} 127.0.0.1\n"
            "allow_anonymous true\n"
            "user root\n"
            "log_type all\n"
            f"log_dest file {self._log}\n"
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, on the same port as before."""
        settings = Path(self._folder.name) / "mosquitto.conf"
        self._child = subprocess.Popen(
            ["/usr/sbin/mosquitto", "-c", str(settings)], stderr=subprocess.DEVNULL
        )
        self._wait()

    def stop(self) -> None:
        """End it, and every connection."""
        child, self._child = self._child, None
        if child is not None:
            child.terminate()
            child.wait(10)

    @property
    def log(self) -> str:
        """What it has logged since its last start."""
        return self._log.read_text() if self._log.exists() else ""

    def clients(self, prefix: str) -> list[str]:
        """Return the ids of the clients that have come, the last one at the end."""
        return re.findall(rf" as ({re.escape(prefix)}\S*) \(p", self.log)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        self.stop()
        raise ProcessError("Mosquitto does not answer")


@contextlib.contextmanager
def mosquitto() -> Iterator[int]:
    """Run one; gives its port. Raises ProcessError if it does not answer."""
    with Mosquitto() as broker:
        yield broker.port
