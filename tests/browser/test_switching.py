"""Putting a service on the Internet and taking it off again."""

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.standin import StandIn, exposure, problem, relay, service

EXPOSURE = "services/camera/exposure"


def row(page: Page, name: str) -> Locator:
    names = page.locator(".row-name").get_by_text(name, exact=True)
    return page.locator("hg-service").filter(has=names)


def toggle(page: Page, name: str) -> Locator:
    return page.get_by_role("switch", name=f"{name} on the Internet")


async def test_first_time_asks_once_and_shows_real_steps_until_live(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service())
    page = await open_page()
    await toggle(page, "Camera").click()
    dialog = page.get_by_role("dialog", name="Put Camera on the Internet?")
    await expect(dialog).to_contain_text(
        "Camera will be reachable by everybody on the Internet at "
        "https://camera.cottage.example.com"
    )
    await expect(toggle(page, "Camera")).not_to_be_checked()
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    assert await home.called() == (
        "PUT",
        EXPOSURE,
        {
            "enabled": True,
            "hostname": "camera.cottage.example.com",
            "relay_id": "r1",
            "access": None,
        },
    )
    await expect(dialog).to_have_count(0)
    await expect(toggle(page, "Camera")).to_be_focused()
    await expect(toggle(page, "Camera")).to_have_attribute("aria-busy", "true")
    current = row(page, "Camera").locator("[aria-current=step]")
    await expect(current).to_have_text("Checking DNS")
    await home.phase("camera", "ordering")
    await expect(current).to_have_text("Asking for a certificate")
    await home.phase("camera", "proving")
    await expect(current).to_have_text("Proving ownership")
    await home.phase("camera", "switching_on")
    await expect(current).to_have_text("Switching on")
    await expect(row(page, "Camera").locator("[data-state=done]")).to_have_count(3)
    await home.phase("camera", "live")
    await expect(toggle(page, "Camera")).to_have_attribute("aria-busy", "false")
    await expect(current).not_to_be_visible()
    link = row(page, "Camera").get_by_role("link", name="camera.cottage.example.com")
    await expect(link).to_have_attribute("href", "https://camera.cottage.example.com/")
    await expect(link).to_have_attribute("target", "_blank")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(page.locator("hg-announcer")).to_have_text(
        "Camera is on the Internet."
    )


async def test_switching_off_and_on_again_asks_no_second_time(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("live")))
    page = await open_page()
    await toggle(page, "Camera").click()
    assert await home.called() == ("PUT", EXPOSURE, {"enabled": False})
    await expect(toggle(page, "Camera")).not_to_be_checked()
    await toggle(page, "Camera").click()
    assert await home.called() == ("PUT", EXPOSURE, {"enabled": True})
    await expect(toggle(page, "Camera")).to_be_checked()
    await expect(page.locator("dialog")).to_have_count(0)


async def test_toggle_is_pending_until_the_home_answers_and_goes_back_if_it_refuses(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("off")))
    home.gate.clear()
    page = await open_page()
    await toggle(page, "Camera").click()
    await home.called()
    await expect(toggle(page, "Camera")).to_be_checked()
    await expect(toggle(page, "Camera")).to_have_attribute("aria-busy", "true")
    home.refuse("taken", "Another home has this name.", "Choose another one.")
    home.gate.set()
    await expect(toggle(page, "Camera")).not_to_be_checked()
    await expect(toggle(page, "Camera")).to_have_attribute("aria-busy", "false")
    alert = row(page, "Camera").get_by_role("alert")
    await expect(alert).to_contain_text("Another home has this name.")
    await expect(alert).to_contain_text("Choose another one.")


async def test_a_refusal_in_the_dialog_is_shown_there_and_keeps_what_was_typed(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service())
    page = await open_page()
    await toggle(page, "Camera").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Hostname").fill("garden")
    home.refuse("hostname_not_granted", "This relay does not let you use it.")
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    await expect(dialog.get_by_role("alert").filter(visible=True)).to_have_text(
        "This relay does not let you use it."
    )
    await expect(dialog.get_by_label("Hostname")).to_have_value("garden")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_have_count(0)
    await expect(toggle(page, "Camera")).not_to_be_checked()


async def test_the_hostname_is_checked_while_typing(
    home: StandIn, open_page: OpenPage
) -> None:
    photos = exposure("live", "photos.cottage.example.com")
    home.add(relay(), relay("r2", host="b.example", domains=["b.example.net"]))
    home.add(service(), service("photos", "Photos", exposure=photos))
    page = await open_page()
    await toggle(page, "Camera").click()
    dialog = page.get_by_role("dialog")
    label = dialog.get_by_label("Hostname")
    wrong = dialog.locator("hg-hostname-field .field-error")
    for typed, said in {
        "two words": "A hostname has no spaces. A hyphen works.",
        "-x": "A hyphen cannot come first or last.",
        "a..b": "Something is missing before or after a dot.",
        "a_b": "Only letters, digits, hyphens and dots work here.",
        "x" * 64: "This is too long: 63 characters between two dots are the limit.",
        "Photos": "Photos already has this address.",
    }.items():
        await label.fill(typed)
        await expect(wrong).to_have_text(said)
        await expect(label).to_have_attribute("aria-invalid", "true")
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    assert home.calls.empty()
    await dialog.get_by_label("Domain").select_option(label="b.example.net")
    await expect(dialog).to_contain_text("Visitors come through b.example.")
    await label.fill("Küche")
    await expect(wrong).to_have_text("")
    await expect(dialog).to_contain_text("https://küche.b.example.net")
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    _, _, body = await home.called()
    assert body["hostname"] == "küche.b.example.net"
    assert body["relay_id"] == "r2"


async def test_a_name_and_a_strong_password_can_be_put_in_front(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service())
    page = await open_page()
    await toggle(page, "Camera").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("switch", name="Ask for a name and a password").click()
    submit = dialog.get_by_role("button", name="Put it on the Internet")
    await submit.click()
    await expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    await dialog.get_by_label("Name", exact=True).fill("anna")
    await submit.click()
    await expect(dialog).to_contain_text("The password needs at least 8 characters.")
    field = dialog.get_by_label("Password", exact=True)
    await expect(field).to_have_attribute("type", "password")
    await dialog.get_by_role("button", name="Make a strong one").click()
    await expect(field).to_have_attribute("type", "text")
    first = await field.input_value()
    await dialog.get_by_role("button", name="Make a strong one").click()
    await expect(field).not_to_have_value(first)
    password = await field.input_value()
    assert len(password.replace("-", "")) == 20
    await submit.click()
    _, _, body = await home.called()
    assert body["access"] == {"username": "anna", "password": password}
    await home.phase("camera", "live")
    await expect(row(page, "Camera")).to_contain_text(
        "Asks for a name and a password (anna)"
    )


async def test_a_failure_says_what_why_and_when_and_can_be_tried_again(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("ordering")))
    page = await open_page()
    trouble = problem("The name points elsewhere.", "Change its DNS record.", 3000)
    await home.phase("camera", "failed", trouble)
    camera = row(page, "Camera")
    await expect(camera).to_contain_text("The name points elsewhere.")
    await expect(camera).to_contain_text("Change its DNS record.")
    await expect(camera).to_contain_text("Next try in 50 minutes")
    await expect(toggle(page, "Camera")).to_be_checked()
    await camera.get_by_role("button", name="Try again").click()
    assert await home.called() == ("POST", f"{EXPOSURE}/retry", {})
    await expect(camera.locator("[aria-current=step]")).to_have_text("Checking DNS")
    await expect(camera).not_to_contain_text("The name points elsewhere.")


async def test_waiting_for_the_relay_is_calm_and_comes_back(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("waiting")))
    page = await open_page()
    camera = row(page, "Camera")
    await expect(camera).to_contain_text("The relay is away. This comes back by itself")
    await expect(camera.get_by_role("button", name="Try again")).not_to_be_visible()
    await home.phase("camera", "live")
    await expect(camera).not_to_contain_text("The relay is away")


async def test_access_and_hostname_of_a_live_service_can_be_changed(
    home: StandIn, open_page: OpenPage
) -> None:
    shut = {**exposure("live"), "access": {"username": "anna"}}
    home.add(relay(), service(exposure=shut))
    page = await open_page()
    menu = page.get_by_role("button", name="More about Camera")
    await menu.click()
    await page.get_by_role("menuitem", name="Access…").click()
    dialog = page.get_by_role("dialog", name="Access to Camera")
    await dialog.get_by_role("switch").click()
    await expect(dialog).to_contain_text("Everybody on the Internet will be able to")
    await dialog.get_by_role("button", name="Open it to everybody").click()
    assert await home.called() == ("PUT", EXPOSURE, {"enabled": True, "access": None})
    await expect(dialog).to_have_count(0)
    await menu.click()
    await page.get_by_role("menuitem", name="Public address…").click()
    dialog = page.get_by_role("dialog", name="Public address of Camera")
    await dialog.get_by_label("Hostname").fill("door")
    await dialog.get_by_role("button", name="Save").click()
    assert await home.called() == (
        "PUT",
        EXPOSURE,
        {"enabled": True, "hostname": "door.cottage.example.com", "relay_id": "r1"},
    )
    await expect(dialog).to_have_count(0)
    await menu.click()
    await page.get_by_role("menuitem", name="Protocols…").click()
    dialog = page.get_by_role("dialog", name="Protocols of Camera")
    await dialog.get_by_label("Further protocols").fill(
        "Tailscale-Control-Protocol, x/1"
    )
    await dialog.get_by_role("button", name="Save").click()
    assert await home.called() == (
        "PUT",
        EXPOSURE,
        {"enabled": True, "protocols": ["tailscale-control-protocol", "x/1"]},
    )


async def test_the_public_address_is_copied_also_where_no_clipboard_api_is(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("live")))
    page = await open_page(url=home.url.replace("127.0.0.1", "home.test"))
    assert not await page.evaluate("window.isSecureContext")
    copy = page.get_by_role("button", name="Copy the public address")
    await copy.click()
    copied = page.locator("hg-copy-button .copy-word").filter(has_text="Copied")
    await expect(copied).to_have_count(1)
    await expect(copy).to_be_focused()
    # Pasting is the one way to see what was copied without that API.
    await page.get_by_role("button", name="Add a service").click()
    await page.get_by_role("dialog").get_by_label("Address at home").focus()
    await page.keyboard.press("Control+V")
    await expect(page.get_by_label("Address at home")).to_have_value(
        "https://camera.cottage.example.com/"
    )


async def test_a_password_is_copied_out_of_a_dialog_without_losing_the_focus(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service())
    page = await open_page(url=home.url.replace("127.0.0.1", "home.test"))
    await toggle(page, "Camera").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("switch").click()
    await dialog.get_by_role("button", name="Make a strong one").click()
    copy = dialog.get_by_role("button", name="Copy the password")
    await copy.click()
    await expect(dialog.locator("hg-copy-button .copy-word")).to_have_text("Copied")
    await expect(copy).to_be_focused()
    await dialog.get_by_label("Name", exact=True).focus()
    await page.keyboard.press("Control+V")
    password = await dialog.get_by_label("Password", exact=True).input_value()
    await expect(dialog.get_by_label("Name", exact=True)).to_have_value(password)


async def test_a_late_answer_does_not_undo_what_the_home_said_since(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("off")))
    home.overtake = lambda: home.change_service("camera", exposure=exposure("live"))
    page = await open_page()
    await toggle(page, "Camera").click()
    await home.called()
    await expect(toggle(page, "Camera")).to_have_attribute("aria-busy", "false")
    await expect(row(page, "Camera")).to_have_attribute("data-live", "true")
    await expect(page.get_by_role("button", name="Copy the public")).to_be_visible()


async def test_everything_works_with_the_keyboard_alone(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("live"), origin="manual"))
    page = await open_page()
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await toggle(page, "Camera").evaluate("it => it === document.activeElement"):
            break
    await page.keyboard.press("Space")
    assert (await home.called())[2] == {"enabled": False}
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowUp")
    await expect(page.get_by_role("menuitem", name="Remove…")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("menu")).to_have_count(0)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Remove Camera?")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="More about Camera")).to_be_focused()


async def test_a_service_that_is_no_web_page_gets_a_port(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(
        relay(ports={"tcp": ["25565-25570"], "udp": []}),
        service(
            "game",
            "Game",
            url="tcp://192.168.1.20:25565",
            scheme="tcp",
            port=25565,
            suggested_hostname=None,
            suggested_port=25565,
        ),
    )
    page = await open_page()
    await toggle(page, "Game").click()
    dialog = page.get_by_role("dialog", name="Public port of Game")
    await expect(dialog).to_contain_text("TCP 25565-25570")
    field = dialog.get_by_label("Port", exact=True)
    await expect(field).to_have_value("25565")
    await field.fill("99999")
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    await expect(dialog).to_contain_text("A port is a number from 1 to 65535.")
    await field.fill("25566")
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    assert await home.called() == (
        "PUT",
        "services/game/exposure",
        {"enabled": True, "public_port": 25566, "proxy_protocol": False},
    )


async def test_a_live_forward_shows_where_visitors_come_to(
    home: StandIn, open_page: OpenPage
) -> None:
    shown = exposure("live")
    shown |= {"hostname": None, "public_port": 25566}
    shown["url"] = "tcp://relay.example.com:25566"
    home.add(
        relay(),
        service(
            "game", "Game", url="tcp://192.168.1.20:25565", scheme="tcp", exposure=shown
        ),
    )
    page = await open_page()
    link = row(page, "Game").locator(".public-link")
    await expect(link).to_contain_text("relay.example.com:25566")
    await row(page, "Game").locator("hg-menu button").first.click()
    await expect(page.get_by_role("menuitem", name="Public port…")).to_be_visible()
    await expect(page.get_by_role("menuitem", name="Public address…")).to_have_count(0)


async def test_a_udp_service_that_is_silent_is_not_called_reachable(
    home: StandIn, open_page: OpenPage
) -> None:
    udp = {"scheme": "udp", "url": "udp://192.168.1.20:51820", "port": 51820}
    silent = "Nothing there answers. Over UDP that alone is no sign of a fault."
    home.add(
        relay(),
        service("vpn", "VPN", **udp, reachable=None, problem=silent),
        service("new", "New", **udp, reachable=None, problem=None),
    )
    page = await open_page()
    await expect(row(page, "VPN")).to_contain_text(silent)
    await expect(row(page, "VPN")).not_to_contain_text("Reachable at home")
    await expect(row(page, "New")).to_contain_text("Checking…")
    await home.change_service("vpn", reachable=False, problem="Nothing answers there.")
    await expect(row(page, "VPN")).to_contain_text(
        "Not reachable: Nothing answers there."
    )


OCTOPRINT = {"app": "octoprint", "name": "OctoPrint", "tells_apart": False}


async def test_what_a_service_would_let_strangers_do_is_said_before_it_goes_public(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(
        relay(),
        service("printer", "Printer", local_trust=OCTOPRINT),
        service("photos", "Photos"),
    )
    page = await open_page()
    await toggle(page, "Printer").click()
    dialog = page.get_by_role("dialog", name="Put Printer on the Internet?")
    await expect(dialog).to_contain_text(
        "To OctoPrint, every visitor looks like somebody in your home network"
    )
    await expect(dialog).to_contain_text("autologinLocal")
    await page.keyboard.press("Escape")
    await toggle(page, "Photos").click()
    dialog = page.get_by_role("dialog", name="Put Photos on the Internet?")
    await expect(dialog).to_be_visible()
    await expect(dialog).not_to_contain_text("looks like somebody")


async def test_it_stays_at_the_switch_until_a_password_of_ours_is_in_front(
    home: StandIn, open_page: OpenPage
) -> None:
    tried = {"app": None, "name": None, "tells_apart": True}
    home.add(
        relay(),
        service("camera", "Camera", local_trust=OCTOPRINT, exposure=exposure("off")),
        service("odd", "Odd", local_trust=tried, exposure=exposure("live", "odd.org")),
    )
    page = await open_page()
    await expect(row(page, "Camera")).to_contain_text("To OctoPrint, every visitor")
    await expect(row(page, "Odd")).to_contain_text("Hearthgate tried it")
    await expect(row(page, "Odd")).to_contain_text("or ask for one here")
    protected = exposure("live") | {"access": {"username": "me"}}
    await home.change_service("camera", exposure=protected)
    await expect(row(page, "Camera")).not_to_contain_text("looks like somebody")


async def test_it_is_said_in_german_too(home: StandIn, open_page: OpenPage) -> None:
    home.add(
        relay(),
        service(
            "shell",
            "Shell",
            scheme="tcp",
            url="tcp://192.168.1.20:22",
            port=22,
            local_trust={"app": "ssh", "name": "SSH", "tells_apart": False},
        ),
    )
    page = await open_page(locale="de-DE")
    await page.get_by_role("switch", name="Shell").click()
    dialog = page.get_by_role("dialog", name="Öffentlicher Port von Shell")
    await expect(dialog).to_contain_text(
        "Für SSH sieht jeder Besucher aus wie jemand in deinem"
    )
    await expect(dialog).to_contain_text("fail2ban würde die Adresse deines Zuhauses")


async def test_a_site_can_tell_its_service_visitors_addresses(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("live")))
    page = await open_page()
    await row(page, "Camera").locator("hg-menu button").first.click()
    await page.get_by_role("menuitem", name="Public address…").click()
    dialog = page.get_by_role("dialog", name="Public address of Camera")
    await dialog.get_by_role("switch", name="Tell the service").click()
    await dialog.get_by_role("button", name="Save").click()
    method, path, fields = await home.called()
    assert (method, path) == ("PUT", EXPOSURE)
    assert fields["proxy_protocol"] is True
