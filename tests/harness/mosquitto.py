"""Run a real Mosquitto on loopback, for whom it concerns.

with mosquitto() as port: …        nobody has to log in, nothing is kept
"""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import socket
import subprocess
import tempfile
import time

from tests.harness.hearthgate import ProcessError
from tests.harness.ports import free_port

_START_S = 30.0


@contextlib.contextmanager
def mosquitto() -> Iterator[int]:
    """Run one; gives its port. Raises ProcessError if it does not answer."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as folder:
        settings = Path(folder) / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        child = subprocess.Popen(
            ["/usr/sbin/mosquitto", "-c", str(settings)], stderr=subprocess.DEVNULL
        )
        try:
            _wait(port)
            yield port
        finally:
            child.terminate()
            child.wait(10)


def _wait(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise ProcessError("Mosquitto does not answer")
