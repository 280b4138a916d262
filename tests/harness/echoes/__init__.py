"""Services that say what they received, in the languages that services are written in.

    with echo("ruby") as port: …      python, php, ruby or node, in a process of its own

    request ─▶ {"seen": [[name, value], …]}   everything that a program could look at:
                                              headers, variables, trailers, target

Each is the plain server that comes with its language, which is also what many a small
device or container runs.
"""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import socket
import subprocess
import sys
import time
from typing import Final

from tests.harness.hearthgate import ProcessError
from tests.harness.ports import free_port

_START_S: Final = 60.0
_HERE: Final = Path(__file__).parent
_COMMANDS: Final = {
    "python": (sys.executable, str(_HERE / "echo.py"), "@PORT@"),
    "php": ("php", "-n", "-S", "127.0.0.1:@PORT@", str(_HERE / "echo.php")),
    "ruby": ("ruby", str(_HERE / "echo.rb"), "@PORT@"),
    "node": ("node", str(_HERE / "echo.js"), "@PORT@"),
}
LANGUAGES: Final = tuple(_COMMANDS)


@contextlib.contextmanager
def echo(language: str) -> Iterator[int]:
    """Run one; gives its port. Raises ProcessError if it does not answer."""
    port = free_port()
    command = [word.replace("@PORT@", str(port)) for word in _COMMANDS[language]]
    child = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(child, port)
        yield port
    finally:
        child.kill()
        child.wait()


def _wait(child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise ProcessError(f"{child.args!r} does not answer")
