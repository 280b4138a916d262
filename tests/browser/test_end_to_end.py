"""A person at the page, and a visitor: the whole way in a real Chromium.

    Chromium ──▶ the home's page: pair, switch on      (no stand-in: the real agent)
    Chromium ──▶ https://hostname ──▶ relay ──▶ edge ──▶ service

The visitor's browser trusts the test authority's root and nothing else that is special:
a certificate that does not fit is an error page, and a failed test.
"""

import asyncio
from pathlib import Path

from playwright.async_api import Page, async_playwright, expect
import pytest

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.visitors import DEADLINE_MS, chromium
from tests.harness.scene import Scene

_PASSWORD = "correct horse battery staple"  # of the harness's homes


async def _log_in(page: Page, scene: Scene) -> None:
    await page.goto(f"http://127.0.0.1:{scene.home.web_port}/")
    await page.get_by_label("Password").fill(_PASSWORD)
    await page.keyboard.press("Enter")


@pytest.mark.timeout(240)
async def test_from_the_pairing_code_to_a_visit_with_a_verified_certificate(
    tmp_path: Path,
) -> None:
    async with Scene(paired=False) as scene, chromium(tmp_path, scene) as context:
        expect.set_options(timeout=DEADLINE_MS)
        scene.pebble.set_a(f"lamp.{scene.domain}", ["127.0.0.1"])
        page = await context.new_page()
        await _log_in(page, scene)

        # First run: half of the code, then all of it.
        code = await asyncio.to_thread(scene.relay.invite, scene.domain, scene.name)
        field = page.get_by_label("Pairing code")
        await field.fill(code[: len(code) // 2])
        await page.get_by_role("button", name="Join").click()
        await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text(
            "cut off"
        )
        await field.fill(code)
        await page.get_by_role("button", name="Join").click()
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible()

        await scene.add(scene.web.url, "Lamp")
        toggle = page.get_by_role("switch", name="Lamp on the Internet")
        await toggle.click()
        dialog = page.get_by_role("dialog", name="Put Lamp on the Internet?")
        await dialog.get_by_role("switch", name="Ask for a name and a password").click()
        await dialog.get_by_label("Name", exact=True).fill("anna")
        await dialog.get_by_label("Password", exact=True).fill("winter is coming")
        await dialog.get_by_role("button", name="Put it on the Internet").click()
        link = page.get_by_role("link", name=f"lamp.{scene.domain}")
        await expect(link).to_be_visible()
        await expect(toggle).to_be_checked()

        url = await link.get_attribute("href")
        assert url == f"https://lamp.{scene.domain}:{scene.relay.https_port}/"
        visitor = await context.new_page()
        with pytest.raises(Exception, match="ERR_INVALID_AUTH_CREDENTIALS"):
            await visitor.goto(url)
        await visitor.close()
        credentials = url.replace("https://", "https://anna:winter%20is%20coming@")
        visitor = await context.new_page()
        answer = await visitor.goto(credentials)
        assert answer is not None
        assert answer.status == 200
        security = await answer.security_details()
        assert security is not None
        assert security["subjectName"] in {"", f"lamp.{scene.domain}"}
        assert security["protocol"] == "TLS 1.3"
        await expect(visitor.get_by_role("heading").first).to_be_visible()

        # Off: the next visit fails before any certificate.
        await toggle.click()
        await expect(toggle).not_to_be_checked()
        await expect(link).not_to_be_visible()
        await expect(toggle).to_have_attribute("aria-busy", "false")  # it is done
        with pytest.raises(Exception, match="ERR_"):
            await visitor.goto(credentials)


@pytest.mark.timeout(240)
async def test_a_browser_that_does_not_know_the_authority_is_warned(
    tmp_path: Path,
) -> None:
    """Shows that the visit above verifies: without the root it must fail."""
    async with Scene() as scene:
        shown = await scene.expose(scene.web.url, "Lamp")
        other = Path(tmp_path / "stranger")
        other.mkdir()
        async with async_playwright() as playwright:
            context = await playwright.chromium.launch_persistent_context(
                other / "profile",
                executable_path=CHROMIUM,
                args=[
                    *(one for one in ARGUMENTS if "resolver" not in one),
                    f"--host-resolver-rules=MAP *.{scene.domain} 127.0.0.1",
                ],
                env={"HOME": str(other), "PATH": "/usr/bin:/bin"},
            )
            page = await context.new_page()
            with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
                await page.goto(shown["exposure"]["url"])
            await context.close()
