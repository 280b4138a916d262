"""Write what one generation reads into a folder of its own.

    folder/7/haproxy.cfg  certificates.list  NAME.pem …  503.html …  cut.list
             passwords.lua

Certificates are copied, so that a renewal half-way through a start cannot mix two, and
so that the names in the files are ours. Everything here blocks: run in a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import hashlib
from importlib.resources import files
import os
from pathlib import Path
import shutil

from hearthgate.home.edge.access import SCRIPT
from hearthgate.home.edge.config import (
    CERTIFICATES,
    CONFIG,
    CUT,
    certificate_file,
    render,
    render_certificates,
)
from hearthgate.home.edge.errors import EdgeFailedError, EdgeRefusedError
from hearthgate.home.edge.language import page_file
from hearthgate.home.edge.pages import PAGES, UNCHECKED_FILE, html, unchecked_html
from hearthgate.home.edge.routes import Route, checked
from hearthgate.home.edge.settings import EdgeSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """Routes together with the bytes of their certificates. Equal: nothing to do."""

    routes: tuple[Route, ...]
    digests: tuple[bytes, ...]  # SHA-256 of each certificate, in the order of routes


def plan(routes: Sequence[Route]) -> Plan:
    """Check the routes and read their certificates. Raises EdgeRefusedError."""
    ordered = checked(routes)
    return Plan(
        ordered,
        tuple(hashlib.sha256(_certificate(route)).digest() for route in ordered),
    )


def write(folder: Path, wanted: Plan, settings: EdgeSettings, generation: int) -> None:
    """Fill a new folder. Raises EdgeRefusedError, or EdgeFailedError for the disk."""
    texts = {
        CONFIG: render(wanted.routes, settings, generation),
        CERTIFICATES: render_certificates(wanted.routes),
        CUT: "",
        SCRIPT: files("hearthgate.home.edge").joinpath(SCRIPT).read_text("utf-8"),
        UNCHECKED_FILE: unchecked_html(),
        **{page_file(status): html(status) for status in PAGES},
    }
    contents = {name: text.encode() for name, text in texts.items()}
    for route in wanted.routes:
        contents[certificate_file(route)] = _certificate(route)
    try:
        remove(folder)
        folder.mkdir(mode=0o700, parents=True)
        for name, content in contents.items():
            _write(folder / name, content)
    except OSError as err:
        raise EdgeFailedError(reason=f"cannot write {folder.name}: {err}") from err


def remove(folder: Path) -> None:
    """Remove a generation's folder; it holds private keys."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what an agent that was killed left behind, and make the folder private."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for child in folder.iterdir():
        if child.name.isdecimal():
            remove(child)


def _write(path: Path, content: bytes) -> None:
    """Create with mode 0600 from the first moment; write-then-chmod leaves a gap."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)


def _certificate(route: Route) -> bytes:
    try:
        return route.certificate.read_bytes()
    except OSError as err:
        raise EdgeRefusedError(
            reason=f"the certificate of {route.hostname} cannot be read: {err.strerror}"
        ) from err
