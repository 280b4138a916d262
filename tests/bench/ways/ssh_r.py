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
from tests.bench.processes import Child, descendants, free_port, wait_for_port
from tests.bench.scene import Scene

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
    """visitor ──▶ sshd ──one ssh connection──▶ ssh ──▶ edge."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._folder = scene.folder / "ssh"
        self._stack = contextlib.ExitStack()

    def start(self) -> int:
        self._edge = BenchEdge(self._scene, "ssh-r", proxy_header=False)
        self._stack.callback(self._edge.stop)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._make_keys()
        ssh_port, port = free_port(), free_port()
        self._sshd = self._start_sshd(ssh_port)
        self._ssh = self._start_ssh(ssh_port, port)
        wait_for_port(port, self._sshd, self._ssh)
        return port

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

    def _start_ssh(self, ssh_port: int, port: int) -> Child:
        target = f"127.0.0.1:{port}:127.0.0.1:{self._edge.port}"
        argv: list[str | Path] = ["ssh", "-F", "none", "-N", "-T", "-R", target]
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
