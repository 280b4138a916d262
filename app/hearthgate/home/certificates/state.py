"""What must survive a restart, so that no limit of the authority is hit twice.

    state.yaml   of one directory: our account there, and for each hostname when to
                 renew it, what the authority suggested and how often it failed

Certificates and keys are files of their own; see store.py.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import voluptuous as vol

from hearthgate.home.model import Problem
from hearthgate.shared.storage.yaml_store import YamlStore

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Window:
    """When an authority would like a renewal (RFC 9773 §4.2). Unix times."""

    start: float
    end: float
    reason_url: str | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A window, and the moment in it that we chose. All Unix times."""

    start: float
    end: float
    renew_at: float  # our random moment in the window, kept as long as the window
    heard_at: float
    reason_url: str | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """What is known about one hostname. All Unix times; None: not set."""

    serial: str | None = None  # of the certificate that the next five are about
    issued_at: float | None = None
    renew_at: float | None = None  # without a suggestion
    suggestion: Suggestion | None = None
    ask_at: float | None = None  # when to ask for a suggestion again
    failures: int = 0  # in a row
    retry_at: float | None = None  # our own back-off
    held_until: float | None = None  # the authority said so itself
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """All that is known about one ACME directory."""

    directory: str
    account: str | None = None  # URL of our account
    hosts: dict[str, HostState] = field(default_factory=dict)

    def host(self, hostname: str) -> HostState:
        """Return what is known about a hostname, perhaps nothing."""
        return self.hosts.get(hostname, HostState())

    def with_host(self, hostname: str, state: HostState) -> "DirectoryState":
        """Return a copy that knows this about a hostname."""
        return replace(self, hosts={**self.hosts, hostname: state})


_TIME = vol.Any(None, vol.All(vol.Any(int, float), vol.Range(min=0)))
_TEXT = vol.Any(None, str)
_SUGGESTION = {
    vol.Required("start"): vol.Coerce(float),
    vol.Required("end"): vol.Coerce(float),
    vol.Required("renew_at"): vol.Coerce(float),
    vol.Required("heard_at"): vol.Coerce(float),
    vol.Optional("reason_url"): _TEXT,
}
_PROBLEM = {
    vol.Required("code"): str,
    vol.Required("message"): str,
    vol.Optional("hint", default=""): str,
    vol.Optional("retry_at"): _TIME,
    vol.Optional("fields", default=dict): {str: str},
}
_HOST = {
    vol.Optional("serial"): _TEXT,
    vol.Optional("issued_at"): _TIME,
    vol.Optional("renew_at"): _TIME,
    vol.Optional("suggestion"): vol.Any(None, _SUGGESTION),
    vol.Optional("ask_at"): _TIME,
    vol.Optional("failures", default=0): vol.All(int, vol.Range(min=0)),
    vol.Optional("retry_at"): _TIME,
    vol.Optional("held_until"): _TIME,
    vol.Optional("problem"): vol.Any(None, _PROBLEM),
}
_SCHEMA = vol.Schema(
    {
        vol.Required("directory"): str,
        vol.Optional("account"): _TEXT,
        vol.Required("hosts"): {str: _HOST},
    }
)


def open_state(path: Path, directory: str) -> YamlStore[DirectoryState]:
    """Return the store of one directory. One of another directory does not validate."""

    def load(data: dict[str, Any]) -> DirectoryState:
        if data["directory"] != directory:
            raise ValueError(f"it belongs to {data['directory']}")
        hosts = {name: _load_host(host) for name, host in data["hosts"].items()}
        return DirectoryState(directory, data.get("account"), hosts)

    return YamlStore(
        path,
        version=_VERSION,
        schema=_SCHEMA,
        load=load,
        dump=_dump,
        empty=lambda: DirectoryState(directory),
        migrations={},
        title="Hearthgate certificates",
    )


def _load_host(data: dict[str, Any]) -> HostState:
    suggestion, problem = data.pop("suggestion", None), data.pop("problem", None)
    return HostState(
        **data,
        suggestion=Suggestion(**suggestion) if suggestion else None,
        problem=Problem(**problem) if problem else None,
    )


def _dump(state: DirectoryState) -> dict[str, Any]:
    return {
        "directory": state.directory,
        "account": state.account,
        "hosts": {name: _compact(asdict(host)) for name, host in state.hosts.items()},
    }


def _compact(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not set, for whoever reads the file."""
    return {key: value for key, value in data.items() if value is not None}
