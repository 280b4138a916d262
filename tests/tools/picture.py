"""Take the pictures of the real page that the documents show.

    python -m tests.tools.picture

Services announced by mDNS, two of them switched on, Chromium: real parts. Only behind
the card of Home Assistant is the stand-in of the browser's tests. Writes
docs/images/page.png for the README, and smaller ones into DOCS.md itself: Home
Assistant shows that file without a place from which a path could lead anywhere.
"""

import asyncio
import base64
import contextlib
from pathlib import Path
import re

from playwright.async_api import Browser, async_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.standin import StandIn, hass, relay
from tests.harness.mdns import Avahi
from tests.harness.scene import LOOPBACK, Scene
from tests.harness.webservice import WebService

_ROOT = Path(__file__).resolve().parents[2]
_IMAGES = _ROOT / "docs/images"
_DOCS = _ROOT / "DOCS.md"
_PASSWORD = "correct horse battery staple"  # of the harness's homes
_SERVICES = {
    "Photos": "_http._tcp",
    "3D printer": "_octoprint._tcp",
    "Garden camera": "_axis-video._tcp",
    "Weather station": "_http._tcp",
}
_ON = {"Photos": None, "3D printer": {"username": "anna", "password": "not a guess"}}


# A third of what it would have as a PNG.
_AS_WEBP = """async (png) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.85);
}"""


async def _take(scene: Scene, *, width: int, scale: float) -> tuple[bytes, str]:
    """Return a picture of the page as PNG, and as WebP in an address."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS
        )
        page = await browser.new_page(
            color_scheme="light",
            viewport={"width": width, "height": 400},
            device_scale_factor=scale,
        )
        await page.goto(f"http://{LOOPBACK}:{scene.home.web_port}/")
        await page.get_by_label("Password").fill(_PASSWORD)
        await page.keyboard.press("Enter")
        for name in _SERVICES:
            await page.get_by_role("switch", name=f"{name} on the").wait_for()
        await page.locator("img").first.wait_for()
        png = await page.screenshot(full_page=True)
        address = await _as_address(browser, png)
        await browser.close()
    return png, address


async def _take_card() -> str:
    """Return a picture of Home Assistant's card, as WebP in an address."""
    async with async_playwright() as playwright, StandIn() as home:
        home.add(relay())
        home.hass = hass()
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS
        )
        page = await browser.new_page(viewport={"width": 640, "height": 400})
        await page.goto(home.url)
        card = page.locator("hg-hass")
        await card.get_by_role("button").first.wait_for()
        address = await _as_address(browser, await card.screenshot())
        await browser.close()
    return address


async def _as_address(browser: Browser, png: bytes) -> str:
    blank = await browser.new_page()
    address: str = await blank.evaluate(_AS_WEBP, base64.b64encode(png).decode("ascii"))
    return address


def _embed(pictures: dict[str, str]) -> None:
    """Put pictures into DOCS.md, below all that a person reads there."""
    text = re.split(r"^\[\w+\]: data:", _DOCS.read_text(), flags=re.MULTILINE)[0]
    lines = [f"[{name}]: {address}\n" for name, address in pictures.items()]
    _DOCS.write_text("\n".join([text.rstrip("\n") + "\n", *lines]))


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
            large, _ = await _take(scene, width=900, scale=1.5)
            (_IMAGES / "page.png").write_bytes(large)
            _, small = await _take(scene, width=640, scale=1.0)
            _embed({"page": small, "card": await _take_card()})


if __name__ == "__main__":
    asyncio.run(main())
