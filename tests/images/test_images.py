"""The two images, as built from the Dockerfile, and the main job between them.

visit ──▶ relay image :443 ──channel──▶ home image (s6 ─▶ agent ─▶ HAProxy) ──▶ service

Pebble proves through the relay image's port 80. Only the bases are not the real ones.
"""

from collections.abc import AsyncIterator, Iterator
import contextlib
from dataclasses import dataclass
import json
import os
from pathlib import Path
import re
import shutil
import signal
import ssl
import subprocess

from aiohttp import ClientSession, ClientTimeout, TCPConnector, UnixConnector
import pytest
import yaml

from tests.harness.hearthgate import Api
from tests.harness.pebble import Pebble, PebbleSettings
from tests.harness.scene import AtRelay
from tests.harness.webservice import WebService
from tests.images import profile
from tests.images.container import Container, Image, words

ROOT = Path(__file__).parents[2]
RELAY, HOME = Image.load("relay"), Image.load("home")
FOLDER = Path(os.environ["HEARTHGATE_IMAGES"])
HOSTNAME = "web.home.example.com"


@dataclass(frozen=True, slots=True)
class Scene:
    relay: Container
    home: Container
    pebble: Pebble
    web: WebService

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        connector = UnixConnector(str(self.home.data / "agent.sock"))
        timeout = ClientTimeout(total=60)
        async with ClientSession(connector=connector, timeout=timeout) as client:
            yield Api(client)

    async def visit(self) -> dict[str, object]:
        trust = ssl.create_default_context(cadata=self.pebble.root_pem().decode())
        async with (
            ClientSession(
                connector=TCPConnector(resolver=AtRelay(443), ssl=trust),
                timeout=ClientTimeout(total=60),
            ) as client,
            client.get(f"https://{HOSTNAME}/echo") as response,
        ):
            assert response.status == 200
            found: dict[str, object] = await response.json()
            return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("images")
    with contextlib.ExitStack() as stack:
        pebble = stack.enter_context(Pebble(PebbleSettings(http_port=80)))
        relay = Container(
            RELAY,
            folder / "relay",
            {
                "HEARTHGATE_ADDRESS": "127.0.0.1",
                "HEARTHGATE_DOMAIN": "home.example.com",
                "HEARTHGATE_PUBLIC_ADDRESSES": "127.0.0.1",
                "HEARTHGATE_DRAIN": "1",
            },
            confined=True,
        )
        host, port = pebble.dns
        home = Container(
            HOME,
            folder / "home",
            {
                "HEARTHGATE_ACME__DIRECTORY": pebble.directory,
                "HEARTHGATE_ACME__CA_FILE": "/data/pebble.pem",
                "HEARTHGATE_DNS_SERVERS": f"{host}:{port}",
                "HEARTHGATE_WEB__HOST": "127.0.0.1",
            },
            traced=True,
        )
        home.data.mkdir(parents=True)
        (home.data / "pebble.pem").write_bytes(pebble.ca_file.read_bytes())
        (home.data / "options.json").write_text("{}")
        stack.enter_context(relay)
        stack.enter_context(home)
        relay.wait_for("listens on ports 443 and 80")
        home.wait_for("The page is at")
        yield Scene(relay, home, pebble, stack.enter_context(WebService()))


@pytest.mark.keeps("processes")  # the home's, until the scene ends
async def test_the_code_in_the_relay_s_log_pairs_and_a_visitor_reaches_a_service(
    scene: Scene,
) -> None:
    log = scene.relay.wait_for("Pairing code for the home")
    assert "█" in log, "no QR code"
    code = re.search(r"\n {4}(\S+)\n", log.partition("Pairing code")[2])
    assert code is not None
    await scene.pebble.set_a_async(HOSTNAME, ["127.0.0.1"])
    async with scene.api() as api:
        await api.call("POST", "relays", {"code": code[1]})
        await api.connected()
        service = await api.call(
            "POST", "services", {"name": "Web", "url": scene.web.url}
        )
        shown = await api.expose(service["id"], hostname=HOSTNAME)
    assert shown["exposure"]["status"]["phase"] == "live", scene.home.log
    assert HOSTNAME in str(await scene.visit())


def test_the_relay_has_no_right_that_compose_does_not_give(scene: Scene) -> None:
    told = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["relay"]
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert "cap_add" not in told
    assert told["security_opt"] == ["no-new-privileges:true"]
    status = dict(
        line.split(":\t", 1)
        for line in words(Path(f"/proc/{scene.relay.pid}/status"))
        if ":\t" in line
    )
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10443"}
    rights = {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert rights == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    refused = scene.relay.run("touch", "/opt/hearthgate/x")
    assert "Read-only file system" in refused.stderr


def test_the_owner_s_commands_work_inside_the_relay(scene: Scene) -> None:
    done = scene.relay.run("hearthgate", "relay", "homes", "--json")
    assert done.returncode == 0, done.stderr
    assert '"home"' in done.stdout


@pytest.mark.parametrize("which", ["relay", "home"])
def test_the_health_check_asks_the_process_and_believes_nobody_else(
    scene: Scene, which: str
) -> None:
    container: Container = getattr(scene, which)
    well = container.run(*container.image.health)
    assert well.returncode == 0, well.stderr
    *check, _path = container.image.health
    assert container.run(*check, "/no/such/place").returncode == 1


@pytest.mark.keeps("processes")  # the home's, until the scene ends
async def test_a_killed_agent_is_started_again_and_visitors_get_through(
    scene: Scene,
) -> None:
    before = scene.home.processes()
    agent = next(pid for pid, name in before.items() if name == "hearthgate")
    assert "haproxy" in before.values()
    said = len(scene.home.log)
    os.kill(agent, signal.SIGKILL)
    log = scene.home.wait_for("The page is at", after=said)
    assert "ended with status 137 (1 in a row)" in log[said:]
    async with scene.api() as api:
        await api.connected()
        await api.service(
            lambda one: bool(
                one["exposure"] and one["exposure"]["status"]["phase"] == "live"
            )
        )
    assert HOSTNAME in str(await scene.visit())
    assert not before.keys() & {
        pid for pid, name in scene.home.processes().items() if name == "haproxy"
    }


@pytest.mark.parametrize("which", ["home", "relay"])
def test_a_stop_is_graceful_before_the_engine_would_kill(
    scene: Scene, which: str
) -> None:
    container: Container = getattr(scene, which)
    assert container.stop() == 0
    assert "has stopped" in container.log


def test_the_apparmor_profile_allows_all_that_the_home_did_in_these_tests(
    scene: Scene,
) -> None:
    profiles = profile.read_profiles(ROOT / "apparmor.txt")
    done = profile.uses(scene.home.trace_path, HOME.root, profiles)
    for name, program in {"agent": "setpriv", "edge": "haproxy"}.items():
        ran = [one for one in done if one.profile == name and one.what == "x"]
        assert any(one.path.endswith(program) for one in ran), f"{name} never ran"
    refused = [
        one for one in done if not profiles[one.profile].allows(one.path, one.what)
    ]
    assert sorted(refused) == []


@pytest.mark.parametrize(
    ("name", "path", "what"),
    [
        ("agent", "/bin/sh", "x"),
        ("agent", "/usr/bin/curl", "x"),
        ("agent", "/usr/sbin/haproxy", "x"),  # only by setpriv, under its own profile
        ("agent", "/data/edge/program", "x"),
        ("agent", "/opt/hearthgate/lib/python3.13/site-packages/x.py", "w"),
        ("agent", "/etc/s6-overlay/s6-rc.d/hearthgate/run", "w"),
        ("agent", "/run/s6/container_environment/SUPERVISOR_TOKEN", "r"),
        ("agent", "/etc/shadow", "r"),
        ("agent", "/config/secrets.yaml", "r"),
        ("agent", "/proc/1/environ", "r"),
        ("edge", "/data/home.yaml", "r"),
        ("edge", "/data/options.json", "r"),
        ("edge", "/data/certificates/account.pem", "r"),
        ("edge", "/data/edge/1/haproxy.cfg", "w"),
        ("edge", "/data/agent.sock", "w"),
        ("edge", "/usr/bin/python3.13", "x"),
        ("edge", "/bin/sh", "x"),
        ("edge", "/usr/bin/sh", "x"),
        ("edge", "/usr/bin/dash", "x"),
        ("edge", "/usr/bin/env", "x"),
        ("edge", "/tmp/x", "w"),
    ],
)
def test_the_apparmor_profile_refuses_what_neither_has_to_do(
    name: str, path: str, what: str
) -> None:
    profiles = profile.read_profiles(ROOT / "apparmor.txt")
    assert not profiles[name].allows(path, what)


@pytest.mark.parametrize("image", [RELAY, HOME], ids=["relay", "home"])
def test_an_image_holds_nothing_that_only_building_needs(image: Image) -> None:
    packages = image.root / "opt/hearthgate/lib/python3.13/site-packages"
    assert (packages / "hearthgate").is_dir()
    for gone in ("pip", "setuptools", "wheel"):
        assert not (packages / gone).exists()
    for gone in ("usr/bin/pip3", "usr/bin/gcc", "src", "wheels", "root/.cache"):
        assert not (image.root / gone).exists()
    assert not list((image.root / "var/lib/apt/lists").iterdir())


@pytest.mark.parametrize("image", [RELAY, HOME], ids=["relay", "home"])
def test_an_image_runs_exactly_the_locked_versions(image: Image) -> None:
    packages = image.root / "opt/hearthgate/lib/python3.13/site-packages"
    found = {
        _name(one.name.removesuffix(".dist-info"))
        for one in packages.glob("*.dist-info")
    }
    lock = words(ROOT / "requirements/runtime.txt")
    locked = {
        _name(line.split()[0].replace("==", "-"))
        for line in lock
        if "==" in line and "< '3.13'" not in line
    }
    assert {one for one in found if not one.startswith("hearthgate-")} == locked


def _name(text: str) -> str:
    name, _, version = text.rpartition("-")
    return f"{re.sub('[-_.]+', '-', name).lower()}-{version}"


@pytest.mark.parametrize("image", [RELAY, HOME], ids=["relay", "home"])
def test_byte_code_is_valid_whatever_time_its_source_seems_to_have(
    image: Image,
) -> None:
    """What had a time in it was invalid in the image, and compiled at every start."""
    found = list((image.root / "opt/hearthgate/lib").rglob("*.pyc"))
    assert found
    unchecked_hash = (1).to_bytes(4, "little")  # PEP 552
    assert [one for one in found if one.read_bytes()[4:8] != unchecked_hash] == []


def test_two_builds_give_the_same_layers_and_settings() -> None:
    """Not the same number: buildah notes in which container it has built."""
    first, second = (
        json.loads((FOLDER / f"{name}.json").read_text())["OCIv1"]
        for name in ("home", "again")
    )
    assert first["rootfs"]["diff_ids"]
    assert first == second


@pytest.mark.parametrize("image", [RELAY, HOME], ids=["relay", "home"])
def test_an_image_lists_all_packages_of_python_and_debian_that_it_has(
    image: Image,
) -> None:
    told = json.loads((image.root / "usr/share/hearthgate/bom.cdx.json").read_text())
    listed = {(one["name"], one["version"]) for one in told["components"]}
    status = image.root / "var/lib/dpkg"
    asked: list[str | Path] = [
        "dpkg-query",
        "--admindir",
        status,
        "-W",
        "-f",
        "${Package} ${Version}\n",
    ]
    debian = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    packages = image.root / "opt/hearthgate/lib/python3.13/site-packages"
    python = [_name(one.stem) for one in packages.glob("*.dist-info")]
    pairs = [line.split() for line in debian.splitlines()]
    pairs += [one.rsplit("-", 1) for one in python]
    assert listed == {(name, version) for name, version in pairs}
    assert len(told["components"]) == len(pairs)


@pytest.fixture
def broken(tmp_path: Path) -> Image:
    """Give the home's image as an update that does not start, with what was before."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", HOME.root, root], check=True)
    (package,) = root.glob("opt/hearthgate/lib/*/site-packages/hearthgate")
    before = root / "opt/hearthgate/before/hearthgate"
    shutil.copytree(package, before)
    for cached in (*package.rglob("__pycache__"), *before.rglob("__pycache__")):
        shutil.rmtree(cached)
    module = before / "__init__.py"
    module.write_text(re.sub(r'"[0-9.]+"', '"0.0.9"', module.read_text()))
    (package / "home" / "agent.py").write_text("raise SystemError('a bug')\n")
    return Image(root, HOME.config)


@pytest.mark.keeps("processes")
async def test_an_update_that_does_not_start_gives_way_to_the_version_before(
    broken: Image, tmp_path: Path
) -> None:
    settings = {"HEARTHGATE_WEB__HOST": "127.0.0.1", "HEARTHGATE_WEB__PORT": "0"}
    with Container(broken, tmp_path / "broken", settings) as home:
        (home.data / "options.json").write_text("{}")
        home.wait_for("The one before it runs instead")
        log = home.wait_for("The page is at")
        assert "a bug" in log
        assert "(3 in a row)" in log
        assert "(4 in a row)" not in log
        connector = UnixConnector(str(home.data / "agent.sock"))
        async with ClientSession(connector=connector) as client:
            state = await Api(client).state()
        assert state["home"]["version"] == "0.0.9"
        assert home.stop() == 0
