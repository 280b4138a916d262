"""Hold apparmor.txt against what the home image really opens and executes.

    strace of a container ──▶ (profile, path, what) ──▶ rules of the profile ──▶ refused

AppArmor itself cannot run here. Its file rules are simple enough to be followed: globs,
a few variables, and the change of profile at `cx`. Network, signals, UNIX sockets,
renames and links are not; `tests/unit/test_store.py` says which rules may be there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
import re

INCLUDES = Path("/etc/apparmor.d")
_VARIABLES = {
    "@{PROC}": "/proc",
    "@{pid}": "[0-9]*",
    "@{sys}": "/sys",
    "@{run}": "/run",
    "@{etc_ro}": "/etc",
    "@{HOME}": "/root",
    "@{multiarch}": "*-linux-gnu*",
}
_RULE = re.compile(
    r"(?:(?:owner|file)\s+)*([/@]\S+)\s+([rwkmlxiapucC]+)(?:\s*->\s*(\w+))?,$"
)
_CALL = re.compile(r"^(\d+)\s+(?:\[[^]]*\]\s+)?(\w+)\((.*)$")
_OPENED = re.compile(r"=\s+\d+<(/[^>]*)>$")
_FORKED = re.compile(r"=\s+(\d+)$")


@dataclass(slots=True)
class Profile:
    """The file rules of one profile, and where it leads."""

    name: str
    rules: list[tuple[re.Pattern[str], set[str]]] = field(default_factory=list)
    leads: list[tuple[re.Pattern[str], str]] = field(default_factory=list)
    everything: bool = False

    def allows(self, path: str, what: str) -> bool:
        """Tell whether some rule allows one letter (r, w, x) on a path."""
        return self.everything or any(
            what in letters and pattern.fullmatch(path)
            for pattern, letters in self.rules
        )

    def after(self, program: str) -> str:
        """Return the profile that a program runs under once it is executed."""
        for pattern, name in self.leads:
            if pattern.fullmatch(program):
                return name
        return self.name


def read_profiles(path: Path) -> dict[str, Profile]:
    """Return the profiles of a file by their last name."""
    profiles: dict[str, Profile] = {}
    stack: list[Profile] = []
    for line in _lines(path):
        if line.startswith("profile "):
            stack.append(Profile(line.split()[1]))
            profiles[stack[-1].name] = stack[-1]
        elif line == "}":
            stack.pop()
        elif stack:
            _take(stack[-1], line)
    return profiles


def _lines(path: Path) -> Iterator[str]:
    for raw in path.read_text().splitlines():
        line = raw.strip()
        include = re.match(r"#?include\s+(if exists\s+)?<([^>]+)>", line)
        if include:
            included = INCLUDES / include[2]
            if not include[2].startswith("tunables") and included.is_file():
                yield from _lines(included)
        elif line and not line.startswith("#"):
            yield re.sub(r"\s+#.*$", "", line)


def _take(profile: Profile, line: str) -> None:
    if line == "file,":
        profile.everything = True
    rule = _RULE.match(line)
    if rule is None:
        return
    pattern = _pattern(rule[1])
    letters = set(rule[2])
    if rule[3]:
        profile.leads.append((pattern, rule[3]))
    if "w" in letters:
        letters.add("a")
    profile.rules.append((pattern, letters))


def _pattern(glob: str) -> re.Pattern[str]:
    """Return a glob of AppArmor as a regular expression (apparmor.d(5), Globbing)."""
    for name, value in _VARIABLES.items():
        glob = glob.replace(name, value)
    made, depth, at = "", 0, 0
    while at < len(glob):
        if glob.startswith("**", at):
            made, at = made + ".*", at + 1
        elif glob[at] == "*":
            # At the end of a path a star stands for something, not for nothing.
            made += "[^/]+" if glob[:at].endswith("/") else "[^/]*"
        elif glob[at] == "?":
            made += "[^/]"
        elif glob[at] == "{":
            made, depth = made + "(?:", depth + 1
        elif glob[at] == "}":
            made, depth = made + ")", depth - 1
        elif glob[at] == "," and depth:
            made += "|"
        elif glob[at] in "[]-^":
            made += glob[at]
        else:
            made += re.escape(glob[at])
        at += 1
    return re.compile(made)


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """One thing that a process did with a file, and under which profile."""

    profile: str
    path: str
    what: str  # r, w or x


def uses(trace: Path, root: Path, profiles: dict[str, Profile]) -> set[Use]:
    """Return what a traced container did, beginning with its first program.

    trace: of `strace -f -y`, with names as the machine outside knows them.
    """
    first = next(iter(profiles))
    under: dict[str, str] = {}
    found: set[Use] = set()
    for line in _whole_calls(trace):
        call = _CALL.match(line)
        if call is None:
            continue
        pid, name, rest = call.groups()
        profile = under.setdefault(pid, first)
        if name in {"fork", "vfork", "clone", "clone3"}:
            if child := _FORKED.search(rest):
                under[child[1]] = profile
        elif name == "execve" and rest.endswith("= 0"):
            program = _inside(rest.split('"')[1], root)
            found.add(Use(profile, program, "x"))
            under[pid] = profiles[profile].after(program)
        elif opened := _OPENED.search(rest):
            path = opened[1].removeprefix(str(root)) or "/"
            # AppArmor writes a folder with a slash at its end.
            if path != "/" and ("O_DIRECTORY" in rest or Path(opened[1]).is_dir()):
                path += "/"
            found |= {Use(profile, path, what) for what in _wishes(rest)}
    return found


def _whole_calls(trace: Path) -> Iterator[str]:
    """Join what another process's line has torn apart."""
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        pid = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>"):
            begun[pid] = line.removesuffix("<unfinished ...>").rstrip()
        elif "resumed>" in line and pid in begun:
            yield begun.pop(pid) + line.partition("resumed>")[2]
        else:
            yield line


def _wishes(arguments: str) -> set[str]:
    if "O_PATH" in arguments:
        return set()
    if "O_RDWR" in arguments:
        return {"r", "w"}
    return {"w"} if "O_WRONLY" in arguments else {"r"}


def _inside(program: str, root: Path) -> str:
    """Follow links as the kernel does, but within the image."""
    path = Path(program)
    for _ in range(20):
        parts = path.parts
        for count in range(2, len(parts) + 1):
            here = Path(*parts[:count])
            outside = root / here.relative_to("/")
            if outside.is_symlink():
                path = here.parent / outside.readlink() / Path(*parts[count:])
                break
        else:
            return str(path)
    return str(path)
