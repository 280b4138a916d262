"""The state of one directory in memory, written to disk at each change.

Memory is the truth while we run: if the disk is full, back-offs still hold. The
writing methods block: run them in a thread. Thread-safe.
"""

from dataclasses import replace
import logging
from pathlib import Path
import threading

from hearthgate.errors import HearthgateError
from hearthgate.home.certificates.state import HostState, open_state
from hearthgate.shared.storage.yaml_store import StateFromFutureError

_LOGGER = logging.getLogger(__name__)


class CurrentState:
    """What is known about the hostnames of one directory."""

    def __init__(self, path: Path, directory: str) -> None:
        """Read what is there. Blocking. Raises what YamlStore.read raises."""
        self._store = open_state(path, directory)
        try:
            self._state = self._store.read()
        except StateFromFutureError as err:  # keys and certificates are elsewhere
            self._state = self._store.step_back(err)
        self._lock = threading.Lock()

    @property
    def account(self) -> str | None:
        """Return the URL of our account."""
        return self._state.account

    def host(self, hostname: str) -> HostState:
        """Return what is known about a hostname, perhaps nothing."""
        return self._state.host(hostname)

    def put_host(self, hostname: str, host: HostState) -> None:
        """Remember this about a hostname. Blocking."""
        with self._lock:
            self._state = self._state.with_host(hostname, host)
            self._write()

    def put_account(self, url: str | None) -> None:
        """Remember the URL of our account. Blocking."""
        with self._lock:
            self._state = replace(self._state, account=url)
            self._write()

    def _write(self) -> None:
        try:
            self._store.write(self._state)
        except HearthgateError as err:
            _LOGGER.error("Renewal times and back-offs are not stored: %s", err)  # noqa: TRY400 (the text says it all)
