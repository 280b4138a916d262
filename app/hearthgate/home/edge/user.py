"""Run HAProxy as a user of its own, where the system lets us.

    agent (root) ──setpriv──▶ HAProxy as hearthgate-edge, with nothing more to gain

HAProxy reads all that visitors send, so it is what would be broken into. As root it
could then read the keys, the state and the agent's environment. An agent that is not
root starts it as what it is itself. The add-on's AppArmor profile gives no capability;
there the profile is what keeps HAProxy from the rest, and it stays root in name.
"""

import contextlib
from dataclasses import dataclass
import logging
import os
from pathlib import Path
import pwd
import subprocess
from typing import Final, Self

from hearthgate.shared.storage.folders import (
    fresh_folder,
    let_through,
    remove_tree,
    share_folder,
)
from hearthgate.shared.storage.private_files import StateError

_LOGGER = logging.getLogger(__name__)

# Ours, as in our image; else the one that Debian's package makes.
_NAMES: Final = ("hearthgate-edge", "haproxy")
# What the agent needs of CapEff (capabilities(7)): to hand over files, reach what the
# other user has made, signal it, and become it. The kernel checks the third also when
# it ends HAProxy because the agent has died.
_CHOWN, _DAC_OVERRIDE, _KILL, _SETGID, _SETUID = 0, 1, 5, 6, 7
_NEEDED: Final = sum(
    1 << one for one in (_CHOWN, _DAC_OVERRIDE, _KILL, _SETGID, _SETUID)
)
_STATUS: Final = Path("/proc/self/status")
_SETPRIV: Final = ("setpriv",)  # looked up in PATH, as HAProxy is
_TRY_S: Final = 20.0
_WORDS_MAX: Final = 300
_TRIAL: Final = b"""defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend trial
  bind unix@trial.sock
"""


@dataclass(frozen=True, slots=True)
class EdgeUser:
    """A user that owns nothing, and that only HAProxy runs as."""

    name: str
    uid: int
    gid: int

    @classmethod
    def find(cls, program: str, folder: Path) -> Self | None:
        """Return who HAProxy can be run as; None: the agent's user. Blocking.

        folder: below which it finds its generations. This user may go through it then.
        """
        if os.geteuid() != 0:
            return None
        for name in _NAMES:
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                if entry.pw_uid != 0:
                    found = cls(name, entry.pw_uid, entry.pw_gid)
                    return found if found._works(program, folder) else None
        _LOGGER.warning("edge: HAProxy runs as root: there is no user %s", _NAMES[0])
        return None

    def become(self) -> tuple[str, ...]:
        """Return the options of setpriv that make a program run as this user."""
        return (
            *("--reuid", str(self.uid), "--regid", str(self.gid)),
            *("--clear-groups", "--no-new-privs"),
        )

    def share(self, folder: Path) -> None:
        """Let this user read a generation, and make sockets in it. Raises OSError."""
        let_through(folder.parent, self.gid)  # HAProxy goes there by its whole path
        share_folder(folder, self.gid)

    def _works(self, program: str, folder: Path) -> bool:
        """Try it: what a container or a security module forbids shows only then."""
        trial = folder / "0"  # generations begin with 1
        why = "a capability is missing"
        try:
            if _may_change():
                let_through(folder.parent, self.gid)
                fresh_folder(trial, {"haproxy.cfg": _TRIAL})
                self.share(trial)
                why = self._run(program, trial)
                remove_tree(trial)
        except (OSError, StateError, subprocess.TimeoutExpired) as err:
            why = str(err)
        if why:
            _LOGGER.info(
                "edge: HAProxy runs as root, %s is not possible: %s", self.name, why
            )
        return not why

    def _run(self, program: str, folder: Path) -> str:
        """Let HAProxy read a configuration as this user; return what is wrong."""
        done = subprocess.run(  # noqa: S603 (no shell, and names of ours)
            [*_SETPRIV, *self.become(), "--", program, "-c", "-f", "haproxy.cfg"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TRY_S,
            check=False,
            env={"PATH": os.environ.get("PATH", "")},
        )
        words = done.stderr.decode("utf-8", "replace").strip()
        return (words[:_WORDS_MAX] or "it failed") if done.returncode else ""


def _may_change() -> bool:
    with _STATUS.open(encoding="ascii", errors="replace") as lines:
        found = next((line for line in lines if line.startswith("CapEff:")), "CapEff:0")
    return int(found.split(":")[1], 16) & _NEEDED == _NEEDED
