"""Write what one generation reads into a folder of its own.

    folder/7/haproxy.cfg  certificates.list  NAME.pem …  503.html …  cut.list
             passwords.lua  no_trailers.lua

Certificates are copied, so that a renewal half-way through a start cannot mix two, and
so that the names in the files are ours. Everything here blocks: run in a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import hashlib
from importlib.resources import files
import logging
from pathlib import Path
from typing import Final

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
from hearthgate.home.edge.requests import TRAILERS_SCRIPT
from hearthgate.home.edge.routes import Route, checked
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.shared.storage.folders import (
    fresh_folder,
    names_in,
    private_folder,
    remove_tree,
)
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    StateError,
    StateNotReadableError,
    read_capped,
)

_LOGGER = logging.getLogger(__name__)

# A leaf, its chain and its key are about 5 KB.
_CERTIFICATE_MAX_BYTES: Final = 256 * 1024


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
        **{name: _script(name) for name in (SCRIPT, TRAILERS_SCRIPT)},
        UNCHECKED_FILE: unchecked_html(),
        **{page_file(status): html(status) for status in PAGES},
    }
    contents = {name: text.encode() for name, text in texts.items()}
    for route in wanted.routes:
        contents[certificate_file(route)] = _certificate(route)
    try:
        fresh_folder(folder, contents)
    except (OSError, StateError) as err:
        raise EdgeFailedError(reason=f"cannot write {folder.name}: {err}") from err


def remove(folder: Path) -> None:
    """Remove a generation's folder; it holds private keys."""
    try:
        remove_tree(folder)
    except (OSError, StateError) as err:
        _LOGGER.error("edge: %s is not removed, with its keys: %s", folder, err)  # noqa: TRY400 (the text says it all)


def sweep(folder: Path) -> None:
    """Remove what an agent that was killed left behind, and make the folder private.

    Raises StateError, OSError.
    """
    for name in names_in(private_folder(folder)):
        if name.isdecimal():
            remove(folder / name)


def _script(name: str) -> str:
    return files("hearthgate.home.edge").joinpath(name).read_text("utf-8")


def _certificate(route: Route) -> bytes:
    try:
        raw = read_capped(route.certificate, _CERTIFICATE_MAX_BYTES)
    except StateNotReadableError as err:
        why = err.fields["reason"]
    except NotAFileError as err:
        why = err
    else:
        if raw is not None:
            return raw
        why = "it is missing"
    raise EdgeRefusedError(
        reason=f"the certificate of {route.hostname} cannot be read: {why}"
    )
