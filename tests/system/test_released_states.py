"""The state of every released version is taken over and served by the present code."""

import asyncio
from collections.abc import Iterator
import functools
from pathlib import Path
import re
import shutil
import ssl

import pytest
import yaml

from tests.harness.hearthgate import HomeProcess, Json
from tests.harness.ports import free_port
from tests.harness.scene import LOOPBACK, Scene
from tests.harness.webservice import WebService

ROOT = Path(__file__).parents[2]
STATES = ROOT / "tests" / "states"
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
RELEASED = re.findall(r"^## \[?(\d+\.\d+\.\d+)", CHANGELOG, re.MULTILINE)
RECORDED = sorted(path.parent.name for path in STATES.glob("*/facts.yaml"))
ORDERED = "new certificate"

pytestmark = pytest.mark.keeps("processes", "sockets")


def test_the_state_of_every_released_version_is_kept() -> None:
    assert set(RELEASED) <= set(RECORDED)


class Recorded(Scene):
    """A relay and a home on the folders of an earlier version."""

    forward_port: int

    def __init__(self, version: str) -> None:
        super().__init__(paired=False)
        self._from = STATES / version
        self.facts: Json = yaml.safe_load((self._from / "facts.yaml").read_text())

    def trust(self) -> ssl.SSLContext:
        """Trust the authority of the recording."""
        return ssl.create_default_context(cafile=self._from / "root.pem")

    def unpack(self, name: str, data: Path, ports: dict[int, int]) -> None:
        """Copy a folder, with the ports of today instead of those back then."""
        shutil.copytree(self._from / name, data)
        for path in data.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)  # which git does not keep
        for path in data.glob("*.yaml"):
            text = path.read_text()
            for old, new in ports.items():
                text = re.sub(rf"\b{old}\b", str(new), text)
            path.write_text(text)


@pytest.fixture(params=RECORDED)
def recorded(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    scene = Recorded(request.param)
    facts = scene.facts
    with WebService() as web:
        scene.forward_port = free_port()
        ports = {facts["forward_port"]: scene.forward_port}
        scene.unpack("relay", scene.relay.data, ports)
        with scene.relay:
            ports[facts["relay_port"]] = scene.relay.https_port
            ports[facts["service_port"]] = web.port
            home = HomeProcess(
                {
                    "HEARTHGATE_ACME__DIRECTORY": facts["directory"],
                    "HEARTHGATE_DNS_SERVERS": f"{LOOPBACK}:{free_port()}",
                }
            )
            scene.unpack("home", home.data, ports)
            with home:
                scene.use(home)
                yield scene


async def test_a_home_and_its_relay_serve_what_an_earlier_version_has_left(
    recorded: Recorded,
) -> None:
    facts = recorded.facts
    async with recorded.home.api() as api:
        await api.connected()
        for hostname in facts["live"]:
            await api.service(functools.partial(is_live, hostname=hostname))
        await api.service(
            lambda one: bool(
                one["exposure"]
                and one["exposure"]["public_port"] == recorded.forward_port
                and one["exposure"]["status"]["phase"] == "live"
            )
        )
        state = await api.state()
    assert sorted(one["name"] for one in state["services"]) == facts["services"]
    assert state["home"]["damage"] is None
    for hostname in facts["live"]:
        access = facts["access"].get(hostname)
        if access:
            assert (await recorded.visit(hostname)).status == 401
        auth = (access["username"], access["password"]) if access else None
        assert (await recorded.visit(hostname, auth=auth)).status == 200
    for hostname in facts["off"]:
        with pytest.raises(OSError, match="UNRECOGNIZED_NAME"):
            await recorded.open(hostname)
    reader, writer = await asyncio.open_connection(LOOPBACK, recorded.forward_port)
    writer.write(b"GET /echo HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.")
    writer.close()
    await writer.wait_closed()
    assert ORDERED not in recorded.home.log
    for log in (recorded.home.log, recorded.relay.log):
        assert "can't be used" not in log
        assert "Traceback" not in log


def is_live(service: Json, hostname: str) -> bool:
    exposure = service["exposure"]
    return bool(
        exposure
        and exposure["hostname"] == hostname
        and exposure["status"]["phase"] == "live"
    )


async def test_the_first_wish_after_an_update_is_kept_in_the_present_format(
    recorded: Recorded,
) -> None:
    """And the state from before it as well, if its format was another one."""
    path = recorded.home.data / "state.yaml"
    before = path.read_bytes()
    version = re.search(rb"^version: (\d+)$", before, re.MULTILINE)
    assert version is not None
    await recorded.add("http://192.0.2.2/", "Shed")
    after = path.read_bytes()
    if version[0] not in after.splitlines():
        kept = path.with_name(f"{path.name}.version-{int(version[1])}")
        assert kept.read_bytes() == before
    recorded.home.stop()
    recorded.home.start()
    async with recorded.home.api() as api:
        await api.connected()
        names = {one["name"] for one in (await api.state())["services"]}
    assert names == {*recorded.facts["services"], "Shed"}
