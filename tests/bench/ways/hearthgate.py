"""Hearthgate itself: the real commands, paired and told what to expose as a user does.

The certificate of the scene is put where the agent keeps its certificates, so that all
edges show the same one and no authority is asked.
"""

from collections.abc import Mapping
import contextlib
import http.cookiejar
import json
from pathlib import Path
import secrets
import shutil
import subprocess
import sys
from typing import Any
from urllib.error import HTTPError, URLError
import urllib.request

from hearthgate.home.certificates.settings import AcmeSettings
from tests.bench.processes import (
    BenchError,
    Child,
    descendants,
    wait_for_port,
    wait_until,
)
from tests.bench.scene import DOMAIN, Scene
from tests.bench.ways.base import Doors
from tests.harness.ports import free_port

__all__ = ["HearthgateWay"]

_COMMAND = Path(sys.executable).with_name("hearthgate")
_DIRECTORY = "https://127.0.0.1:9/directory"  # nothing listens there
_LIVE_S = 60.0


class HearthgateWay:
    """visitor ──▶ relay ──channel──▶ edge, the socket passed on by the agent."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stack = contextlib.ExitStack()
        self._folder = scene.folder / "hearthgate"

    def start(self) -> Doors:
        port, forward = free_port(), free_port()
        self._relay = self._start_relay(port)
        self._put_certificates()
        self._agent, api = self._start_home()
        api.call("POST", "relays", {"code": self._invite(forward)})
        relay_id = self._connected(api)
        for hostname, service_port in (
            (self._scene.hostname, self._scene.service_port),
            (self._scene.upload_hostname, self._scene.sink_port),
        ):
            self._expose(api, relay_id, hostname, service_port)
        self._forward(api, relay_id, forward)
        wait_until(
            lambda: _live(api) == 3,
            "the exposures",
            self._relay,
            self._agent,
            deadline_s=_LIVE_S,
        )
        # The edge is replaced for each exposure; the one before ends by itself.
        wait_until(lambda: len(self.processes()["edge"]) == 1, "the last edge")
        return Doors(port, forward=forward)

    def processes(self) -> Mapping[str, list[int]]:
        helpers = descendants(self._agent.pid)[1:]
        return {
            "relay": descendants(self._relay.pid),
            "agent": [self._agent.pid],
            "edge": [pid for pid in helpers if _program(pid) == "haproxy"],
        }

    def stop(self) -> None:
        self._stack.close()

    def _start_relay(self, port: int) -> Child:
        self._address = f"127.0.0.1:{port}"
        argv: list[str | Path] = [_COMMAND, "relay", "run", *self._relay_data()]
        argv += ["--address", self._address, "--bind", "127.0.0.1"]
        argv += ["--https-port", str(port), "--http-port", str(free_port())]
        relay = self._child(argv, "relay")
        wait_for_port(port, relay)
        return relay

    def _relay_data(self) -> list[str]:
        folder = self._folder / "relay"
        folder.mkdir(parents=True, exist_ok=True)
        return ["--data", str(folder)]

    def _invite(self, forward: int) -> str:
        argv: list[str | Path] = [_COMMAND, "relay", "invite", *self._relay_data()]
        argv += ["--domain", DOMAIN, "--name", "bench", "--json"]
        argv += ["--tcp", str(forward)]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode:
            raise BenchError(f"no pairing code: {done.stderr}{done.stdout}")
        return str(json.loads(done.stdout)["code"])

    def _put_certificates(self) -> None:
        acme = AcmeSettings(directory=_DIRECTORY)
        live = self._folder / "home/certificates" / acme.folder_name / "live"
        live.mkdir(mode=0o700, parents=True)
        for hostname in (self._scene.hostname, self._scene.upload_hostname):
            shutil.copy(self._scene.credentials.combined, live / f"{hostname}.pem")

    def _start_home(self) -> tuple[Child, "_Api"]:
        port, password = free_port(), secrets.token_urlsafe(24)
        environment = {
            "HEARTHGATE_DATA": str(self._folder / "home"),
            "HEARTHGATE_PASSWORD": password,
            "HEARTHGATE_WEB__HOST": "127.0.0.1",
            "HEARTHGATE_WEB__PORT": str(port),
            "HEARTHGATE_DISCOVERY__ENABLED": "false",
            "HEARTHGATE_ACME__DIRECTORY": _DIRECTORY,
        }
        agent = self._child([_COMMAND, "home", "run"], "home", environment)
        wait_for_port(port, agent)
        api = _Api(f"http://127.0.0.1:{port}/api/")
        api.call("POST", "login", {"password": password})
        return agent, api

    def _child(
        self,
        argv: list[str | Path],
        name: str,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        child = Child(argv, log=self._scene.folder / f"{name}.log", env=environment)
        self._stack.callback(child.stop)
        return child

    def _connected(self, api: "_Api") -> str:
        def connected() -> bool:
            relays = api.call("GET", "state")["relays"]
            return [relay["state"] for relay in relays] == ["connected"]

        wait_until(connected, "the tunnel", self._relay, self._agent)
        return str(api.call("GET", "state")["relays"][0]["id"])

    def _expose(self, api: "_Api", relay_id: str, hostname: str, port: int) -> None:
        service = {"name": hostname, "url": f"http://127.0.0.1:{port}/"}
        made = api.call("POST", "services", service)
        wish = {"enabled": True, "hostname": hostname, "relay_id": relay_id}
        api.call("PUT", f"services/{made['id']}/exposure", wish)

    def _forward(self, api: "_Api", relay_id: str, public_port: int) -> None:
        service = {"name": "bare", "url": f"tcp://127.0.0.1:{self._scene.service_port}"}
        made = api.call("POST", "services", service)
        wish = {"enabled": True, "public_port": public_port, "relay_id": relay_id}
        api.call("PUT", f"services/{made['id']}/exposure", wish)


class _Api:
    """The home's API, spoken to as its page does."""

    def __init__(self, base: str) -> None:
        self._base = base
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), cookies
        )

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the answer's JSON. Raises BenchError with the home's own words."""
        request = urllib.request.Request(
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=30) as answer:
                text = answer.read()
        except HTTPError as err:
            words = err.read().decode(errors="replace")[:600]
            raise BenchError(f"{method} {path}: {err.code} {words}") from err
        except URLError as err:
            raise BenchError(f"{method} {path}: {err.reason}") from err
        found: dict[str, Any] = json.loads(text) if text else {}
        return found


def _live(api: _Api) -> int:
    """Return how many exposures serve. Raises BenchError if one failed."""
    phases = []
    for service in api.call("GET", "state")["services"]:
        if service["exposure"] is not None:
            status = service["exposure"]["status"]
            phases.append(status["phase"])
            if status["phase"] == "failed":
                raise BenchError(f"{service['name']}: {status['problem']}")
    return phases.count("live")


def _program(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
