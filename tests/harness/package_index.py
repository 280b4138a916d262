"""An index of packages (PEP 503) on loopback that has a newer version of each.

    folder of wheels ──▶ /simple/NAME/: the wheel itself, and an empty one of a far
                                        higher version that asks for the same packages

What an index looks like long after a lock was written. Its newer wheels install, so
whoever takes one gets no error but another version than the lock's.
"""

from collections.abc import Iterator
import contextlib
from email.message import Message
import email.parser
from functools import cached_property
import hashlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import io
from pathlib import Path
import re
import threading
import zipfile

NEWER = "9999.0"


def normal(name: str) -> str:
    """Return the name of a package as an index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


class PackageIndex:
    """Know the wheels of a folder, and make the newer ones."""

    def __init__(self, wheels: Path) -> None:
        self._wheels = wheels

    @cached_property
    def files(self) -> dict[str, dict[str, bytes]]:
        """Return the files of each package: contents by name of the file."""
        found: dict[str, dict[str, bytes]] = {}
        for wheel in sorted(self._wheels.glob("*.whl")):
            name, newer, content = _newer(wheel)
            files = found.setdefault(name, {})
            files |= {wheel.name: wheel.read_bytes(), newer: content}
        return found

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Answer pip, and give the address that it asks for."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, name="package index")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _answer(self, path: str) -> tuple[str, bytes] | None:
        parts = path.strip("/").split("/")
        files = self.files.get(parts[1] if len(parts) > 1 else "", {})
        if len(parts) == 2:  # /simple/NAME/
            links = (_link(name, content) for name, content in files.items())
            return "text/html", "\n".join(links).encode()
        content = files.get(parts[-1])
        return None if content is None else ("application/zip", content)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answer(self.path)
                if found is None:
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                kind, content = found
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _link(name: str, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f'<a href="{name}#sha256={digest}">{name}</a>'


def _newer(wheel: Path) -> tuple[str, str, bytes]:
    """Return package, name and content of a wheel that is newer than this one."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (
            name
            for name in archive.namelist()
            if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
        )
        told = email.parser.BytesParser().parsebytes(archive.read(path))
    name = normal(str(told["Name"]))
    spelt = name.replace("-", "_")
    metadata = Message()
    metadata["Metadata-Version"] = "2.1"
    metadata["Name"] = name
    metadata["Version"] = NEWER
    for field in ("Requires-Dist", "Provides-Extra"):
        for value in told.get_all(field, []):
            metadata[field] = str(value)
    folder = f"{spelt}-{NEWER}.dist-info"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{folder}/METADATA", metadata.as_string())
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{folder}/RECORD", "")
    return name, f"{spelt}-{NEWER}-py3-none-any.whl", content.getvalue()
