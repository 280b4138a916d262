"""Read settings from five places into one frozen dataclass.

    defaults  <  YAML file  <  options  <  environment  <  flags      the later wins

    @dataclass(frozen=True, slots=True)
    class Web:
        port: int = setting(PORT, 8099)

    @dataclass(frozen=True, slots=True)
    class Settings:
        web: Web = section(Web)                   web: {port: 8099}      in the file
                                                  HEARTHGATE_WEB__PORT   environment
                                                  {"web.port": 8099}     flags

Nothing is ignored: a name that nobody knows is an error that tells the nearest one that
is known, and a wrong value is an error that tells where it came from and what is
allowed. All of them are reported at once. An empty value (`KEY=` in the environment,
`key:` in the file) and a flag that is None count as not given.

Reads no command line and holds no setting: the dataclasses live with their package.
"""

from collections.abc import Collection, Iterator, Mapping
import dataclasses
from dataclasses import dataclass, field
import difflib
import logging
import os
from pathlib import Path
import re
from typing import Any, TypeVar

import voluptuous as vol

from hearthgate.errors import HearthgateError
from hearthgate.shared.settings.kinds import Kind
from hearthgate.shared.storage.plain_yaml import PlainYamlError, parse_yaml
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    read_capped,
    read_given,
)

_LOGGER = logging.getLogger(__name__)
S = TypeVar("S")
V = TypeVar("V")
D = TypeVar("D")

PREFIX = "HEARTHGATE_"
# Every documented setting with a comment beside it is about 10 KB.
_FILE_MAX_BYTES = 256 * 1024
# Kubernetes puts these into the environment of every container beside a service that is
# called "hearthgate" or "hearthgate-relay". Nobody gave them as settings.
_INJECTED = re.compile(
    r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_INJECTED_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
_KIND = "hearthgate-kind"
_KEYS_SHOWN, _KEY_SHOWN = 10, 40  # of a file that has many, or long ones


class SettingsError(HearthgateError):
    """Raise if settings cannot be used. Tells all that is wrong, a line each."""

    code = "settings"
    message = "{problems}"


@dataclass(frozen=True, slots=True)
class _Given:
    """One value as it was given, and by what."""

    value: object
    source: str  # "port in /data/options.yaml", "HEARTHGATE_PORT", "--port"


def setting(kind: Kind[V], default: D) -> V | D:
    """Declare a field: which values it takes, and the one it has if none is given."""
    made: V | D = field(default=default, metadata={_KIND: kind})
    return made


def needed(kind: Kind[V]) -> V:
    """Declare a field that must be given somewhere."""
    made: V = field(metadata={_KIND: kind})
    return made


def section(of: type[S]) -> S:
    """Declare a group of settings, itself a frozen dataclass."""
    made: S = field(default_factory=of, metadata={_KIND: of})
    return made


def load_settings(
    of: type[S],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    options: Path | None = None,
    offered: Collection[str] = (),
    elsewhere: Collection[str] = (),
) -> S:
    """Return the settings. Blocking: reads the file. Raises SettingsError.

    `file` must exist if it is given. `environment` is the process's own by default;
    `elsewhere` names variables, without the prefix, that something else reads. `flags`
    has dotted names ("web.port"). `options` is the file in which the Supervisor of Home
    Assistant keeps what the user chose; its names have underscores for dots, and it
    gives nothing but the settings that are `offered` there.
    """
    known = dict(_leaves(of))
    problems: list[str] = []
    given: dict[str, _Given] = {}
    if file is not None:
        given |= _from_file(file, known, problems)
    if options is not None:
        given |= _from_options(options, offered)
    variables = os.environ if environment is None else environment
    given |= _from_environment(variables, known, elsewhere, problems)
    given |= _from_flags(flags or {}, known)
    values = _checked(given, known, problems)
    settings = None if problems else _build(of, values, "", given, problems)
    if settings is None:
        raise SettingsError(problems="\n".join(problems))
    return settings


def variable(name: str) -> str:
    """Return the environment variable of a dotted name."""
    return PREFIX + name.upper().replace(".", "__")


def _leaves(of: type[Any], prefix: str = "") -> Iterator[tuple[str, Kind[Any]]]:
    for name, kind, _needed in _fields(of, prefix):
        if isinstance(kind, Kind):
            yield name, kind
        else:
            yield from _leaves(kind, f"{name}.")


def _fields(
    of: type[Any], prefix: str
) -> Iterator[tuple[str, Kind[Any] | type[Any], bool]]:
    """Give each field's dotted name, its kind or group, and whether it is needed."""
    for one in dataclasses.fields(of):
        has_default = one.default is not dataclasses.MISSING
        yield prefix + one.name, one.metadata[_KIND], not has_default


# --- where values come from ----------------------------------------------------------


def _from_file(
    file: Path, known: Mapping[str, Kind[Any]], problems: list[str]
) -> dict[str, _Given]:
    try:
        raw = read_given(file, _FILE_MAX_BYTES)
        if raw is None:
            raise SettingsError(problems=f"The settings file {file} does not exist.")
        data = parse_yaml(raw) if _says_something(raw) else {}
    except (NotAFileError, PlainYamlError) as err:
        raise SettingsError(
            problems=f"The settings file {file} can't be used: {err}."
        ) from err
    found: dict[str, _Given] = {}
    for name, value in _flat(data, "", known):
        if name in known:
            if value is not None:
                found[name] = _Given(value, f"{name} in {file}")
        elif not _is_section(name, known):
            nearest = _nearest(name, _with_sections(known))
            problems.append(f"{name} in {file} is not a setting.{nearest}")
        elif value is not None:
            problems.append(
                f"{name} in {file} is {value!r}; allowed is a group of settings."
            )
    return found


def _from_options(file: Path, offered: Collection[str]) -> dict[str, _Given]:
    """Read a flat JSON object, which is YAML as well.

    What is left over from another version is no error: the Supervisor has checked the
    names, and a home that does not start would lock out who is away from it. What is
    a setting but no option is left out as well: the file stands in the data folder,
    and may come from a backup; where state is kept and who is asked is not its to say.
    """
    try:
        raw = read_capped(file, _FILE_MAX_BYTES)
        data = parse_yaml(raw) if raw else {}
    except (NotAFileError, PlainYamlError) as err:
        raise SettingsError(
            problems=f"The options in {file} can't be used: {err}."
        ) from err
    names = {name.replace(".", "_"): name for name in offered}
    left_out = sorted({str(key) for key in data} - names.keys())
    if left_out:
        shown = ", ".join(repr(key[:_KEY_SHOWN]) for key in left_out[:_KEYS_SHOWN])
        _LOGGER.warning(
            "%s has %d names that are no options here, and they are left out: %s",
            file.name,
            len(left_out),
            shown,
        )
    return {
        names[key]: _Given(value, f"the option {key}")
        for key, value in data.items()
        if key in names and value not in (None, "")
    }


def _says_something(raw: bytes) -> bool:
    """Tell a file with settings from one where all of them are commented out."""
    lines = (line.strip() for line in raw.splitlines())
    return any(line and not line.startswith(b"#") and line != b"---" for line in lines)


def _flat(
    data: Mapping[Any, object], prefix: str, known: Collection[str]
) -> Iterator[tuple[str, object]]:
    """Give dotted names and values, going into a mapping only where a section is."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and _is_section(name, known):
            yield from _flat(value, f"{name}.", known)
        else:
            yield name, value


def _is_section(name: str, known: Collection[str]) -> bool:
    return any(one.startswith(f"{name}.") for one in known)


def _from_environment(
    environment: Mapping[str, str],
    known: Mapping[str, Kind[Any]],
    elsewhere: Collection[str],
    problems: list[str],
) -> dict[str, _Given]:
    names = {variable(name): name for name in known}
    found: dict[str, _Given] = {}
    for key, value in environment.items():
        rest = key.removeprefix(PREFIX)
        if rest == key or not value or _is_injected(rest, value):
            continue
        if key in names:
            found[names[key]] = _Given(value, key)
        elif rest not in elsewhere:
            others = [*names, *(PREFIX + other for other in elsewhere)]
            problems.append(
                f"The environment variable {key} is not a setting."
                f"{_nearest(key, others)}"
            )
    return found


def _is_injected(rest: str, value: str) -> bool:
    if rest.endswith("PORT") and _INJECTED_ADDRESS.fullmatch(value):
        return True
    return _INJECTED.fullmatch(rest) is not None


def _from_flags(
    flags: Mapping[str, object], known: Mapping[str, Kind[Any]]
) -> dict[str, _Given]:
    unknown = set(flags) - set(known)
    if unknown:  # the command line parser of ours is wrong, not the user
        raise KeyError(f"flags for no setting: {sorted(unknown)}")
    return {
        name: _Given(value, "--" + name.replace(".", "-").replace("_", "-"))
        for name, value in flags.items()
        if value is not None and value != ()  # nothing given
    }


def _with_sections(known: Mapping[str, Kind[Any]]) -> list[str]:
    sections = {name.rpartition(".")[0] for name in known if "." in name}
    return [*known, *sorted(sections)]


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name.lower(), [*map(str.lower, known)], 1, 0.5)
    if not close:
        return ""
    return f" Did you mean {next(one for one in known if one.lower() == close[0])}?"


# --- what is made of them ------------------------------------------------------------


def _checked(
    given: Mapping[str, _Given], known: Mapping[str, Kind[Any]], problems: list[str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, one in given.items():
        kind = known[name]
        try:
            values[name] = vol.Schema(kind.read)(one.value)
        except vol.Invalid:
            shown = "has a value that can't be used"
            if not kind.secret:
                shown = f"is {str(one.value)[:80]!r}"
            problems.append(f"{one.source} {shown}; allowed is {kind.allowed}.")
    return values


def _build(
    of: type[S],
    values: Mapping[str, Any],
    prefix: str,
    given: Mapping[str, _Given],
    problems: list[str],
) -> S | None:
    """Return the dataclass; None, and a problem more, if that is impossible."""
    arguments: dict[str, Any] = {}
    missing = len(problems)
    for name, kind, needed_here in _fields(of, prefix):
        key = name.removeprefix(prefix)
        if not isinstance(kind, Kind):
            arguments[key] = _build(kind, values, f"{name}.", given, problems)
        elif name in values:
            arguments[key] = values[name]
        elif needed_here:
            problems.append(
                f"{name} is missing. Give it in the settings file or as "
                f"{variable(name)}; allowed is {kind.allowed}."
            )
    if len(problems) > missing:
        return None
    try:
        return of(**arguments)
    except ValueError as err:  # __post_init__: values that don't go together
        sources = [one.source for name, one in given.items() if name.startswith(prefix)]
        problems.append(f"{err} ({', '.join(sources)}).")
        return None
