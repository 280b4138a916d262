"""Joining relays, logging in, live updates, services by hand, and the looks."""

from playwright.async_api import expect
import pytest

from tests.browser.conftest import OpenPage
from tests.browser.standin import PREFIX, StandIn, exposure, problem, relay, service


async def test_first_run_explains_itself_and_joins_a_relay(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(service())
    page = await open_page()
    await expect(page.locator("hg-first-run")).to_contain_text(
        "hearthgate relay invite"
    )
    await expect(page.get_by_role("switch")).to_be_disabled()
    await page.get_by_role("button", name="Join", exact=True).click()
    alert = page.locator("hg-pair-form").get_by_role("alert")
    await expect(alert).to_have_text("Paste the pairing code first.")
    code = page.get_by_label("Pairing code")
    await code.fill("HG1-ABCDE-\n  FGHIJ ")
    home.refuse("pairing_code_used", "This pairing code was used.", "Make a new one.")
    await code.press("Enter")
    assert await home.called() == ("POST", "relays", {"code": "HG1-ABCDE-FGHIJ"})
    await expect(alert).to_contain_text("This pairing code was used.")
    await expect(alert).to_contain_text("Make a new one.")
    await expect(code).to_be_focused()
    await code.press("Enter")
    await expect(page.locator("hg-first-run")).to_have_count(0)
    await expect(page.locator("hg-relay")).to_contain_text("relay.example.com")
    await expect(page.get_by_role("switch")).to_be_enabled()


async def test_a_state_file_that_was_set_aside_is_told_with_its_place(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    path = "/data/state.yaml.damaged-1"
    home.damage = {"path": path, "reason": "its version is <b>7</b>"}
    page = await open_page()
    notice = page.locator("hg-problem").filter(has_text="At the last start")
    await expect(notice).to_contain_text(path)
    await expect(notice).to_contain_text("its version is <b>7</b>")
    await expect(notice).to_contain_text("Look whether relays")


async def test_login_says_what_is_wrong_lets_in_and_logs_out(
    home: StandIn, open_page: OpenPage
) -> None:
    home.password = "open sesame"
    home.add(relay())
    page = await open_page()
    field = page.get_by_label("Password")
    await expect(field).to_be_focused()
    await field.fill("wrong")
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This is not the password.")
    await field.fill("open sesame")
    await field.press("Enter")
    await expect(page.locator("hg-relay")).to_contain_text("relay.example.com")
    await page.get_by_role("button", name="More", exact=True).click()
    await page.get_by_role("menuitem", name="Log out").click()
    await expect(page.get_by_label("Password")).to_be_visible()
    await expect(page.locator("hg-relay")).to_have_count(0)


async def test_who_may_not_decide_is_told_so_and_sees_nothing_else(
    home: StandIn, open_page: OpenPage
) -> None:
    home.forbidden = True
    home.add(relay(), service())
    page = await open_page()
    await expect(page.locator("main")).to_contain_text("Only administrators may decide")
    await expect(page.locator("hg-relay, hg-service, hg-login")).to_have_count(0)
    await expect(page.get_by_text("The connection to Hearthgate")).to_have_count(0)


async def test_a_relay_tells_how_it_is_and_can_be_reconnected_and_forgotten(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    page = await open_page()
    row = page.locator("hg-relay")
    await expect(row).to_contain_text("Connected")
    await expect(row).to_contain_text("23 ms")
    await expect(row).to_contain_text("*.cottage.example.com")
    hides = row.get_by_text("Hides names on the way")
    await expect(hides).to_be_hidden()
    await home.change_relay("r1", sealed=True)
    await expect(hides).to_be_visible()
    trouble = problem("No answer.", "Is the server on?", 3000)
    await home.change_relay("r1", state="waiting", problem=trouble)
    await expect(row).to_contain_text("Next try in 50 minutes")
    await row.get_by_role("button", name="Reconnect now").click()
    assert await home.called() == ("POST", "relays/r1/reconnect", {})
    await home.change_relay("r1", state="refused", problem=problem("Not known there."))
    await expect(row).to_contain_text("The relay refuses this home")
    await expect(row).to_contain_text("Not known there.")
    await row.get_by_role("button", name="More about relay.example.com").click()
    await page.get_by_role("menuitem", name="Forget…").click()
    await page.get_by_role("button", name="Cancel").click()
    assert home.calls.empty()
    await row.get_by_role("button", name="More about relay.example.com").click()
    await page.get_by_role("menuitem", name="Forget…").click()
    await page.get_by_role("button", name="Forget the relay").click()
    assert await home.called() == ("DELETE", "relays/r1", {})
    await expect(page.locator("hg-first-run")).to_be_visible()
    assert home.calls.empty()


async def test_services_come_go_and_change_without_a_reload(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    page = await open_page()
    await expect(page.get_by_text("Looking around your home network…")).to_be_visible()
    found = service(reachable=None)
    home.add(found)
    await home.tell({"type": "service", "service": found})
    row = page.locator("hg-service")
    await expect(row).to_contain_text("Checking…")
    await home.change_service("camera", reachable=False, problem="Connection refused")
    await expect(row).to_contain_text("Not reachable: Connection refused")
    await home.change_service("camera", reachable=True, moved_from="192.168.1.7:80")
    await expect(row).to_contain_text("It moved here from 192.168.1.7:80.")
    await home.tell({"type": "from_the_future", "what": 1})
    await home.tell({"type": "service_removed", "id": "camera"})
    await expect(row).to_have_count(0)


async def test_a_lost_connection_is_said_and_everything_is_read_again_afterwards(
    home: StandIn, open_page: OpenPage, complaints: list[str]
) -> None:
    home.add(relay(), service())
    page = await open_page()
    await home.stop()
    bar = page.get_by_role("status").filter(has_text="The connection to Hearthgate is")
    await expect(bar).to_be_visible()
    await (
        page.get_by_role("button", name="Reconnect now")
        .or_(page.get_by_role("switch", name="Camera on the Internet"))
        .first.focus()
    )
    home.add(service("photos", "Photos"))
    del home.services["camera"]
    await home.start()
    await expect(bar).not_to_be_visible()
    await expect(page.locator("hg-service")).to_contain_text(["Photos"])
    assert all(
        "ERR_CONNECTION_REFUSED" in text or "WebSocket" in text for text in complaints
    )
    complaints.clear()


async def test_a_wish_that_reaches_nobody_is_answered_in_words(
    home: StandIn, open_page: OpenPage, complaints: list[str]
) -> None:
    home.add(relay(), service(exposure=exposure("live")))
    page = await open_page()
    await home.stop()
    await page.get_by_role("switch").click()
    alert = page.locator("hg-service").get_by_role("alert").filter(visible=True)
    await expect(alert).to_contain_text("Hearthgate did not answer.")
    await expect(page.get_by_role("switch")).to_be_checked()
    complaints.clear()


async def test_names_and_addresses_of_the_network_stay_text(
    home: StandIn, open_page: OpenPage
) -> None:
    attack = "<img src=x onerror=\"document.title='owned'\"><script>1</script>"
    live = {**exposure("live"), "url": "javascript:document.title='owned'"}
    home.add(relay(host=attack, name=attack, domains=[attack]))
    home.add(
        service(
            name=attack,
            title=f"title {attack}",
            url="javascript:document.title='owned'",
            kind="constructor",
            exposure=live,
            moved_from=attack,
        )
    )
    page = await open_page()
    await expect(page.locator("hg-service .row-name")).to_have_text(attack)
    await expect(page.locator("hg-service .row-title")).to_have_text(f"title {attack}")
    assert await page.locator("main img[src=x], main script").count() == 0
    assert await page.locator("a[href^=javascript]").count() == 0
    assert await page.title() == "Hearthgate"


async def test_a_service_is_added_edited_and_removed_by_hand(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    page = await open_page()
    await page.get_by_role("button", name="Add a service").click()
    dialog = page.get_by_role("dialog", name="Add a service")
    add = dialog.get_by_role("button", name="Add", exact=True)
    await add.click()
    await expect(dialog).to_contain_text("A service needs a name and an address.")
    await dialog.get_by_label("Name").fill("Grafana")
    await dialog.get_by_label("Address at home").fill("192.168.1.20:3000")
    home.refuse("invalid_address", "There is no such port.", status=400)
    await add.click()
    await expect(dialog).to_contain_text("There is no such port.")
    await home.called()
    await add.click()
    added = {"name": "Grafana", "url": "192.168.1.20:3000"}
    assert await home.called() == ("POST", "services", added)
    menu = page.get_by_role("button", name="More about Grafana")
    await menu.click()
    await page.get_by_role("menuitem", name="Edit…").click()
    dialog = page.get_by_role("dialog", name="Edit Grafana")
    await dialog.get_by_label("Name").fill("Charts")
    await dialog.get_by_role("button", name="Save").click()
    assert (await home.called())[:2] == ("PATCH", "services/byhand")
    await page.get_by_role("button", name="More about Charts").click()
    await page.get_by_role("menuitem", name="Remove…").click()
    await page.get_by_role("button", name="Remove", exact=True).click()
    assert await home.called() == ("DELETE", "services/byhand", {})
    await expect(page.locator("hg-service")).to_have_count(0)


async def test_order_and_filter(home: StandIn, open_page: OpenPage) -> None:
    home.add(relay(), service("a", "Attic", reachable=False))
    home.add(*[service(f"s{n}", f"Shelf {n}") for n in (10, 9, 2)])
    home.add(service("z", "Zoo", exposure=exposure("live")))
    page = await open_page()
    names = page.locator("hg-service .row-name")
    await expect(names).to_have_text(["Zoo", "Shelf 2", "Shelf 9", "Shelf 10", "Attic"])
    await expect(page.get_by_role("searchbox")).not_to_be_visible()
    for number in range(20, 24):
        added = service(f"s{number}", f"Shelf {number}")
        await home.tell({"type": "service", "service": added})
    await page.get_by_role("searchbox").fill("zoo")
    await expect(names).to_have_text(["Zoo"])
    await page.get_by_role("searchbox").fill("nothing like it")
    await expect(
        page.get_by_text("Nothing here matches “nothing like it”.")
    ).to_be_visible()


async def test_rows_do_not_move_under_the_focus(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service("a", "Attic"), service("b", "Barn"))
    page = await open_page()
    barn = page.get_by_role("switch", name="Barn on the Internet")
    await barn.focus()
    await home.change_service("b", exposure=exposure("live"))
    names = page.locator("hg-service .row-name")
    await expect(barn).to_be_checked()
    await expect(names).to_have_text(["Attic", "Barn"])
    await expect(barn).to_be_focused()
    await page.get_by_role("button", name="Add a service").focus()
    await expect(names).to_have_text(["Barn", "Attic"])


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
async def test_a_small_phone_needs_no_sideways_scrolling(
    home: StandIn, open_page: OpenPage, locale: str
) -> None:
    long = exposure("live", f"{'long' * 15}.cottage.example.com")
    home.add(relay(domains=[f"{'x' * 60}.example.com"]), relay("r2", state="waiting"))
    home.add(service(name="W" * 60, title="T" * 90, exposure=long, origin="manual"))
    home.add(service("b", "Barn", exposure=exposure("proving")), service("c", "Cellar"))
    home.add(service("d", exposure=exposure("failed"), url=f"http://{'h' * 70}/"))
    phone = {"width": 360, "height": 740}
    page = await open_page(locale=locale, viewport=phone, has_touch=True)
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.get_by_role("switch", name="Cellar").tap()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("switch").tap()
    assert await dialog.evaluate("it => it.scrollWidth <= it.clientWidth")
    small = await page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea")]
            .map((it) => [it.outerHTML.slice(0, 80), it.getBoundingClientRect()])
            .filter(([, box]) => box.width && (box.height < 40 || box.width < 40))
            .map(([text]) => text)"""
    )
    assert small == []


async def test_dark_follows_the_browser_and_contrast_is_enough(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), relay("r2", state="waiting", problem=problem("No.", "Go.", 9)))
    for phase in ("live", "proving", "waiting", "failed", "off"):
        home.add(
            service(phase, phase, exposure=exposure(phase, f"{phase}.example.com"))
        )
    home.services["failed"]["exposure"]["status"]["problem"] = problem("No.", "Go.", 9)
    for scheme, background in {"light": (250, 250, 250), "dark": (17, 17, 17)}.items():
        page = await open_page(color_scheme=scheme)
        color = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert color == f"rgb{background}"
        poor = await page.evaluate(CONTRAST)
        assert poor == []


async def test_inside_home_assistant_the_theme_and_language_of_the_parent_hold(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service())
    page = await open_page(color_scheme="light")
    await page.goto(home.url.removesuffix(f"{PREFIX}/"))
    await page.evaluate(PARENT, f"{PREFIX}/")
    frame = page.frame_locator("iframe")
    await expect(frame.get_by_role("heading", name="Dienste")).to_be_visible()
    root = frame.locator("html")
    await expect(root).to_have_attribute("data-scheme", "dark")
    await expect(frame.locator("body")).to_have_css(
        "background-color", "rgb(20, 0, 40)"
    )
    await expect(frame.locator(".page-head")).not_to_be_visible()
    await page.evaluate(
        "document.documentElement.style.setProperty('--primary-background-color','#eee')"
    )
    await expect(root).to_have_attribute("data-scheme", "light")


async def test_german_is_complete_with_its_own_numbers_and_days(
    home: StandIn, open_page: OpenPage
) -> None:
    live = exposure("live")
    live["status"]["certificate_expires"] = 1_800_000_000
    home.add(relay(rtt_ms=1234.5), service(exposure=live))
    page = await open_page(locale="de-AT")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    text = await page.locator("main").inner_text()
    assert "Verbunden" in text
    assert "Zertifikat bis 15. Jänner 2027" in text
    assert "1 von 1 im Internet" in text


# Every visible text against the backgrounds behind it, by WCAG 2.2's contrast ratio.
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1)
    .getContext("2d", { willReadFrequently: true });
  const paint = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((value) => value / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const behind = [];
    for (let it = element; it; it = it.parentElement)
      behind.unshift(getComputedStyle(it).backgroundColor);
    const { color } = getComputedStyle(element);
    const [back, front] = [paint(behind), paint([...behind, color])].map(light);
    const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (ratio < 4.5) poor.push(`${walker.currentNode.data}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""

# What Home Assistant does: a theme on <html>, a language, a narrow bar, an iframe.
PARENT = """(address) => {
  document.documentElement.lang = "de";
  document.documentElement.style.setProperty("--primary-background-color", "#140028");
  document.documentElement.style.setProperty("--primary-text-color", "#f0e0ff");
  addEventListener("message", ({ data, source }) => {
    if (data.type === "home-assistant/subscribe-properties")
      source.postMessage({ type: "home-assistant/properties", narrow: true }, "*");
  });
  const frame = document.createElement("iframe");
  frame.src = address;
  document.body.replaceChildren(frame);
}"""
