"""Record the state of the present version; see the package's docstring."""

import asyncio
from pathlib import Path
import shutil

import yaml

import hearthgate
from tests.harness.pebble import PebbleSettings
from tests.harness.ports import free_port
from tests.harness.scene import LOOPBACK, Scene

HERE = Path(__file__).parent
TWENTY_YEARS_S = 20 * 365 * 86400
ACCESS = {"username": "anna", "password": "wintergarden 7"}
MADE_ANEW = shutil.ignore_patterns("*.sock", "*.lock", "*.hgtmp", "edge", "icons")


async def record(to: Path) -> None:
    """Make a home with something of everything, and keep its folders."""
    settings = PebbleSettings(validity_s=TWENTY_YEARS_S)
    async with Scene(pebble=settings) as scene:
        forward = free_port()
        await scene.expose(scene.web.url, "Lamp")
        await scene.expose(scene.web.url, "Diary", access=ACCESS)
        attic = await scene.expose(scene.web.url, "Attic")
        await scene.add("http://192.0.2.1/", "Guest")
        grant = ("relay", "grant", scene.name, "--tcp", str(forward))
        await asyncio.to_thread(scene.relay.run, *grant)
        shell = await scene.add(f"tcp://{LOOPBACK}:{scene.web.port}", "Shell")
        async with scene.home.api() as api:
            await api.hide(attic["id"])
            await api.expose(shell["id"], public_port=forward)
        facts = {
            "directory": scene.pebble.directory,
            "relay_port": scene.relay.https_port,
            "forward_port": forward,
            "service_port": scene.web.port,
            "live": ["lamp.home.example.com", "diary.home.example.com"],
            "off": ["attic.home.example.com"],
            "access": {"diary.home.example.com": ACCESS},
            "services": ["Attic", "Diary", "Guest", "Lamp", "Shell"],
        }
        scene.home.stop()
        scene.relay.stop()
        shutil.copytree(scene.home.data, to / "home", ignore=MADE_ANEW)
        shutil.copytree(scene.relay.data, to / "relay", ignore=MADE_ANEW)
        (to / "root.pem").write_bytes(scene.pebble.root_pem())
        (to / "facts.yaml").write_text(yaml.safe_dump(facts, sort_keys=False))


if __name__ == "__main__":
    asyncio.run(record(HERE / hearthgate.__version__))
