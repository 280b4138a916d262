"""`ssh -R`: what many use today, with Debian's openssh and its default ciphers.

Own sshd on a free port with own keys. ssh carries all visitors in one TCP connection,
encrypts them a second time and hides their addresses from the edge.
"""

from collections.abc import Mapping
import contextlib
import getpass
from pathlib import Path
import shutil
import subprocess

from tests.bench.edge import BenchEdge
from tests.bench.processes import Child, descendants, wait_for_port
from tests.bench.scene import Scene
from tests.bench.ways.base import Doors
from tests.harness.ports import free_port

__all__ = ["SshWay"]

_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/visitor.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding remote
PidFile none
LogLevel INFO
"""


class SshWay:
    """visitor ──▶ sshd ──one ssh connection──▶ ssh ──▶ edge, or the bare service."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._folder = scene.folder / "ssh"
        self._stack = contextlib.ExitStack()

    def start(self) -> Doors:
        self._edge = BenchEdge(self._scene, "ssh-r", proxy_header=False)
        self._stack.callback(self._edge.stop)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._make_keys()
        ssh_port, port, forward = free_port(), free_port(), free_port()
        self._sshd = self._start_sshd(ssh_port)
        leads = {port: self._edge.port, forward: self._scene.service_port}
        self._ssh = self._start_ssh(ssh_port, leads)
        for one in leads:
            wait_for_port(one, self._sshd, self._ssh)
        return Doors(port, forward=forward)

    def _make_keys(self) -> None:
        for name in ("host", "visitor"):
            path = self._folder / name
            if not path.exists():
                command: list[str | Path] = [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-f",
                    path,
                ]
                subprocess.run(command, check=True)

    def _start_sshd(self, ssh_port: int) -> Child:
        config = self._folder / "sshd_config"
        config.write_text(_SSHD.format(port=ssh_port, folder=self._folder))
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"  # it insists on its full path
        # Debian's sshd wants /run/sshd, which only its own service makes. A private
        # /run gives it one and leaves the machine as it is.
        inner = 'mount -t tmpfs tmpfs /run && mkdir -m 0755 /run/sshd && exec "$@"'
        argv: list[str | Path] = ["unshare", "--mount", "sh", "-c", inner, "sh"]
        argv += [sshd, "-D", "-e", "-f", config]
        child = Child(argv, log=self._folder / "sshd.log")
        self._stack.callback(child.stop)
        wait_for_port(ssh_port, child)
        return child

    def _start_ssh(self, ssh_port: int, leads: Mapping[int, int]) -> Child:
        """Start it with public ports and the ports at home that they lead to."""
        argv: list[str | Path] = ["ssh", "-F", "none", "-N", "-T"]
        for public, port in leads.items():
            argv += ["-R", f"127.0.0.1:{public}:127.0.0.1:{port}"]
        argv += ["-i", self._folder / "visitor", "-p", str(ssh_port)]
        for option in (
            "ExitOnForwardFailure=yes",
            "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={self._folder}/known_hosts",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
        ):
            argv += ["-o", option]
        argv.append(f"{getpass.getuser()}@127.0.0.1")
        child = Child(argv, log=self._folder / "ssh.log")
        self._stack.callback(child.stop)
        return child

    def processes(self) -> Mapping[str, list[int]]:
        return {
            "sshd": descendants(self._sshd.pid),
            "ssh": [self._ssh.pid],
            "edge": [self._edge.pid],
        }

    def stop(self) -> None:
        self._stack.close()
