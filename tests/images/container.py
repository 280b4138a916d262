"""Run a built image the way a container engine would, with nothing but util-linux.

    image's own config ──▶ unshare (mounts, processes) ──▶ chroot ──▶ its command, PID 1
    compose.yaml       ──▶ read-only root, user, no capabilities, no new privileges

Shares the network of the caller, which has one of its own (see `run`): there the ports
80 and 443 are free. A context manager; what it started ends with it. Checks nothing.
"""

from collections.abc import Mapping, Sequence
import contextlib
from dataclasses import dataclass
import json
import os
from pathlib import Path
import shlex
import signal
import subprocess
import time
from types import TracebackType
from typing import Any, Self

from tests.harness.hearthgate import children

STOP_DEADLINE_S = 30.0  # `timeout` of config.yaml, stop_grace_period of compose.yaml
_START_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Image:
    """What `run` has built: where it is mounted, and what it says about itself."""

    root: Path
    config: Mapping[str, Any]

    @classmethod
    def load(cls, name: str) -> Self:
        """Return an image that `run` has mounted for the tests."""
        folder = Path(os.environ["HEARTHGATE_IMAGES"])
        told = json.loads((folder / f"{name}.json").read_text())
        return cls((folder / f"{name}.root").resolve(), told["Docker"]["config"])

    @property
    def command(self) -> list[str]:
        """What runs if nobody says otherwise."""
        return [*(self.config["Entrypoint"] or []), *(self.config["Cmd"] or [])]

    @property
    def health(self) -> list[str]:
        """What its health check runs."""
        kind, *command = self.config["Healthcheck"]["Test"]
        if kind != "CMD":
            raise ValueError(kind)
        return [str(word) for word in command]


class Container:
    """One image, running."""

    def __init__(
        self,
        image: Image,
        folder: Path,
        environment: Mapping[str, str],
        *,
        confined: bool = False,
        traced: bool = False,
    ) -> None:
        """Keep data and log in `folder`.

        confined: as compose.yaml runs the relay. traced: what it does with files and
        programs is written to `trace_path`.
        """
        self.image = image
        self.data = folder / "data"
        self.log_path = folder / "log"
        self._environment = environment
        self.trace_path = folder / "trace"
        self._confined = confined
        self._traced = traced
        self._outer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        user = self.image.config.get("User") or "0:0"
        os.chown(self.data, *map(int, user.split(":")))
        with self.log_path.open("ab") as log:
            self._outer = subprocess.Popen(
                [
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                    *("bash", "-euc", self._script(user)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outer is not None:
            self._outer.kill()  # --kill-child: and so is everything below it
            self._outer.wait(STOP_DEADLINE_S)

    def _script(self, user: str) -> str:
        root, data = shlex.quote(str(self.image.root)), shlex.quote(str(self.data))
        environment = dict(one.split("=", 1) for one in self.image.config["Env"])
        environment |= self._environment
        told = [f"{name}={value}" for name, value in environment.items()]
        uid, gid = user.split(":")
        drop = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        if self._confined:
            drop += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        command = shlex.join(
            [
                *("chroot", str(self.image.root), "/usr/bin/setpriv", *drop, "--"),
                *("/usr/bin/env", "--ignore-environment", *told, *self.image.command),
            ]
        )
        return f"""
            mount --bind {root} {root}
            mkdir -p {root}/data  # as an engine does for a mount
            mount --bind {data} {root}/data
            mount -t proc proc {root}/proc
            mount --rbind /dev {root}/dev
            mount -t tmpfs tmpfs {root}/tmp
            mount -t tmpfs tmpfs {root}/run
            {f"mount -o remount,bind,ro {root}" if self._confined else ""}
            exec {shlex.join(self._tracer())} {command}
        """

    def _tracer(self) -> list[str]:
        if not self._traced:
            return []
        calls = "execve,open,openat,creat,fork,vfork,clone,clone3"
        # -D: the tracer stands aside, and the first process is the container's own.
        return [
            *("strace", "-D", "-f", "-y", "-q", "-s", "4096", "-e", f"trace={calls}"),
            *("-o", str(self.trace_path)),
        ]

    @property
    def pid(self) -> int:
        """The first process of the container, as seen from outside."""
        if self._outer is None:
            raise ProcessLookupError
        return next(pid for pid, _ in children(self._outer.pid))

    @property
    def log(self) -> str:
        """All that it said: `docker logs`."""
        return self.log_path.read_text(errors="replace")

    def wait_for(self, text: str, *, after: int = 0) -> str:
        """Return the log once a text is in it, from `after` characters on."""
        deadline = time.monotonic() + _START_DEADLINE_S
        while text not in self.log[after:]:
            ended = self._outer is None or self._outer.poll() is not None
            if ended or time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} was not said:\n{self.log}")
            time.sleep(0.05)
        return self.log

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the same user: `docker exec`."""
        environment = Path(f"/proc/{self.pid}/environ").read_text().split("\0")
        user = Path(f"/proc/{self.pid}").stat()
        return subprocess.run(
            [
                *("nsenter", "--target", str(self.pid), "--mount", "--pid", "--root"),
                *("--wd", f"--setuid={user.st_uid}", f"--setgid={user.st_gid}"),
                *("env", "--ignore-environment", *filter(None, environment), *command),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_DEADLINE_S,
            check=False,
        )

    def processes(self) -> dict[int, str]:
        """Return what runs inside, by number and name, as seen from outside."""
        found: dict[int, str] = {}
        todo = [self.pid]
        while todo:
            pid = todo.pop()
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
            todo += [child for child, _ in children(pid)]
        return found

    def stop(self) -> int:
        """Do what `docker stop` does, without the kill; return the exit status."""
        if self._outer is None:
            raise ProcessLookupError
        os.kill(self.pid, signal.SIGTERM)
        return self._outer.wait(STOP_DEADLINE_S)


def words(path: Path) -> Sequence[str]:
    """Return the lines of a file without comments."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
