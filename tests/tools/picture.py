"""Take the pictures of the real page that the documents show.

    python -m tests.tools.picture

Real parts throughout: services announced by mDNS, two of them switched on, Chromium.
Writes docs/images/page.png and page-dark.png.
"""

import asyncio
import contextlib
from pathlib import Path

from playwright.async_api import async_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.harness.mdns import Avahi
from tests.harness.scene import LOOPBACK, Scene
from tests.harness.webservice import WebService

_IMAGES = Path(__file__).resolve().parents[2] / "docs/images"
_PASSWORD = "correct horse battery staple"  # of the harness's homes
_SERVICES = {
    "Photos": "_http._tcp",
    "3D printer": "_octoprint._tcp",
    "Garden camera": "_axis-video._tcp",
    "Weather station": "_http._tcp",
}
_ON = {"Photos": None, "3D printer": {"username": "anna", "password": "not a guess"}}


async def _take(scene: Scene, scheme: str, path: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS
        )
        page = await browser.new_page(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": 900, "height": 800},
            device_scale_factor=1.5,
        )
        await page.goto(f"http://{LOOPBACK}:{scene.home.web_port}/")
        await page.get_by_label("Password").fill(_PASSWORD)
        await page.keyboard.press("Enter")
        for name in _SERVICES:
            await page.get_by_role("switch", name=f"{name} on the").wait_for()
        await page.locator("img").first.wait_for()
        await page.screenshot(path=path, full_page=True)
        await browser.close()


async def main() -> None:
    """Set the scene and take the pictures."""
    scene = Scene(
        name="cottage",
        home_environment={
            "HEARTHGATE_DISCOVERY__ENABLED": "yes",
            "HEARTHGATE_DISCOVERY__INTERFACES": LOOPBACK,
        },
    )
    with contextlib.ExitStack() as stack:
        avahi = stack.enter_context(Avahi())
        async with scene, scene.home.api() as api:
            for name, service_type in _SERVICES.items():
                service = stack.enter_context(WebService(name))
                avahi.publish(name, service_type, service.port)
            for name, access in _ON.items():

                def is_there(one: dict[str, object], name: str = name) -> bool:
                    return one["name"] == name and bool(one["title"])

                found = await api.service(is_there)
                hostname = found["suggested_hostname"]
                scene.pebble.set_a(hostname, [LOOPBACK])
                await api.expose(found["id"], access=access)
            await api.until(
                lambda state: len(state["services"]) == len(_SERVICES) or None
            )
            _IMAGES.mkdir(exist_ok=True)
            await _take(scene, "light", _IMAGES / "page.png")
            await _take(scene, "dark", _IMAGES / "page-dark.png")


if __name__ == "__main__":
    asyncio.run(main())
