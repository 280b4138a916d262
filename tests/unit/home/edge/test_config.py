"""The configuration as a pure function; HAProxy itself judges it in tests/system."""

from dataclasses import replace
from pathlib import Path
import re
import shlex

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.edge import EdgeRefusedError, EdgeSettings, Route
from hearthgate.home.edge.config import render, render_certificates
from hearthgate.home.edge.headers import EXCEPTIONS, FAMILIES, WORDS, pattern
from hearthgate.home.edge.language import escape
from hearthgate.home.model import Access, Scheme, Target

HASH = "$6$saltsalt$" + "a" * 86
ROUTE = Route(
    "cottage.example.com",
    Target(Scheme.HTTP, "192.0.2.7", 8123),
    Path("/c.pem"),
    None,
    "Cottage",
)
SETTINGS = EdgeSettings(threads=2)


def text(*routes: Route) -> str:
    return render(routes, SETTINGS, 7)


def test_same_input_gives_same_text_whatever_the_order() -> None:
    other = replace(ROUTE, hostname="barn.example.com")
    assert text(ROUTE, other) == text(other, ROUTE)


def test_name_and_path_of_a_route_never_enter_the_configuration() -> None:
    named = replace(ROUTE, name="x\n  server evil", certificate=Path("/a b\n/c.pem"))
    assert text(named) == text(ROUTE)
    assert (
        render_certificates([named]) == "cottage.example.com.pem cottage.example.com\n"
    )


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("192.0.2.7", "192.0.2.7:8123"),
        ("fd00::7", "[fd00::7]:8123"),
        ("nas.local", "nas.local:8123 init-addr"),
        ("my_nas", "my_nas:8123 init-addr"),
    ],
)
def test_targets_may_be_addresses_and_names(host: str, word: str) -> None:
    route = replace(ROUTE, target=Target(Scheme.HTTP, host, 8123))
    assert f"  server service {word}" in text(route)


def test_a_service_is_told_the_visitor_in_front_of_tls() -> None:
    assert "send-proxy" not in text(ROUTE)
    secure = replace(ROUTE.target, scheme=Scheme.HTTPS)
    told = text(replace(ROUTE, target=secure, tells_visitor=True))
    assert "  server service 192.0.2.7:8123 send-proxy-v2 ssl verify none" in told


def test_resolvers_are_there_only_if_a_target_is_a_name() -> None:
    assert "resolvers" not in text(ROUTE)


def test_access_is_there_only_for_the_route_that_wants_it() -> None:
    assert "password" not in text(ROUTE)
    locked = replace(ROUTE, hostname="barn.example.com", access=Access("anna", HASH))
    both = text(ROUTE, locked)
    barn, cottage = both.split("backend barn.example.com\n")[1].split(
        "backend cottage", 1
    )
    assert barn.index("lua.ask_agent barn.") < barn.index("del-header Authorization")
    assert "authorization" not in cottage.lower()


def test_haproxy_gets_no_hash_to_compare_with() -> None:
    """A thread that hashes serves nobody meanwhile, so it never must."""
    locked = text(replace(ROUTE, access=Access("anna", HASH)))
    assert HASH not in locked
    assert "http_auth(" not in locked
    assert "userlist" not in locked


BAD_HOSTNAMES = [
    "",
    "Cottage.example.com",
    "cottage.example.com.",
    "a b",
    "a\nb",
    "a.example.com\n",
    "-a.example.com",
    "a-.example.com",
    "a..b",
    "*.example.com",
    "a_b.example.com",
    "password_asks",
    "right_passwords",
    "ä.example.com",
    "a" * 64 + ".example.com",
    ".".join(["a" * 60] * 5),
    "a/b",
    "a:443",
    "${X}",
    "\u0661.example.com",  # a digit, but not one of DNS
]


@pytest.mark.parametrize("hostname", BAD_HOSTNAMES)
def test_hostname_that_is_none_is_refused(hostname: str) -> None:
    with pytest.raises(EdgeRefusedError):
        text(replace(ROUTE, hostname=hostname))


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 80),
        ("a b", 80),
        ("a\n", 80),
        ("[::1]", 80),
        ("fe80::1%eth0", 80),
        ("fe80::1%\n", 80),
        ("1.2.3", 80),
        ("256.1.1.1", 80),
        ("12345", 80),
        ("unix@/x", 80),
        ("/var/run/docker.sock", 80),
        ("fd@3", 80),
        ("nas.local", 0),
        ("nas.local", 65536),
        ("nas.local", -1),
        ("nas.local", True),
        ("nas.local", "80 ssl"),
    ],
)
def test_target_that_is_none_is_refused(host: str, port: int) -> None:
    with pytest.raises(EdgeRefusedError):
        text(replace(ROUTE, target=Target(Scheme.HTTP, host, port)))


@pytest.mark.parametrize(
    "access",
    [
        Access("", HASH),
        Access("a:b", HASH),
        Access("a\nb", HASH),
        Access("a\0", HASH),
        Access("\ud800", HASH),
        Access("a" * 257, HASH),
        Access("anna", ""),
        Access("anna", "plain"),
        Access("anna", HASH + "\n"),
        Access("anna", HASH + " x"),
        Access("anna", "$1$salt$" + "a" * 22),
    ],
)
def test_access_that_cannot_be_written_is_refused(access: Access) -> None:
    with pytest.raises(EdgeRefusedError):
        text(replace(ROUTE, access=access))


def test_hostname_that_is_there_twice_is_refused() -> None:
    with pytest.raises(EdgeRefusedError, match="twice"):
        text(ROUTE, replace(ROUTE, target=Target(Scheme.HTTP, "192.0.2.8", 80)))


@given(st.text())
def test_escaped_text_is_one_word_without_meaning(anything: str) -> None:
    try:
        word = escape(anything)
    except UnicodeEncodeError:  # a lone surrogate; routes refuse it before
        return
    assert re.fullmatch(r"(?:[A-Za-z0-9._-]|\\x[0-9a-f]{2})*", word)
    back = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), word.encode())
    assert back == anything.encode()


@given(
    hostname=st.text() | st.sampled_from(BAD_HOSTNAMES) | st.just(ROUTE.hostname),
    host=st.text() | st.just("192.0.2.7"),
    port=st.integers() | st.just(80),
    username=st.text() | st.just("anna"),
    password_hash=st.text() | st.just(HASH),
    name=st.text(),
)
def test_whatever_comes_in_no_line_is_added(
    *, hostname: str, host: str, port: int, username: str, password_hash: str, name: str
) -> None:
    """Compare the shape with that of a harmless route: same lines, same first words."""
    target = Target(Scheme.HTTPS, host, port)
    route = Route(hostname, target, Path(name), Access(username, password_hash), name)
    try:
        lines = text(route).splitlines()
    except EdgeRefusedError:
        return
    named = "init-addr" in "\n".join(lines)
    harmless = replace(
        ROUTE,
        target=Target(Scheme.HTTPS, "nas.local" if named else "192.0.2.7", 80),
        access=Access("anna", HASH),
    )
    expected = text(harmless).splitlines()
    assert [shape(line) for line in lines] == [shape(line) for line in expected]


def shape(line: str) -> tuple[str, int]:
    """Return the first word and the number of words as HAProxy splits them."""
    line = re.sub(r"\\x[0-9a-f]{2}", "x", line)
    words = shlex.split(line, comments=True)
    return words[0], len(words)


def test_what_a_proxy_says_matches_in_every_spelling() -> None:
    expression = re.compile(pattern().replace("(?i:", "(?:"), re.IGNORECASE)
    for family in FAMILIES:
        for name in (family.replace("*", "x"), family.replace("*", "x-y")):
            for spelling in (name, name.title(), name.replace("-", "_")):
                assert expression.match(spelling), spelling
    for word in WORDS:
        for name in (word, f"x-{word}", f"{word}-x", f"x-y-{word}-z"):
            assert expression.match(name), name


@pytest.mark.parametrize("separator", "_.~!#$%&'*+^`|")
def test_only_letters_digits_and_dashes_pass(separator: str) -> None:
    expression = re.compile(pattern())
    for name in ("x-keep", "keep", "x-clickhouse-user"):
        assert not expression.match(name)
        assert expression.match(name + separator)
        assert expression.match(separator + name)
        assert expression.match(name.replace("-", separator, 1) + separator)


CLIENTS_SAY = """
    host user-agent x-requested-with x-forwarder x-api-key authorization cookie via
    accept accept-encoding content-type content-length content-md5 origin referer
    range if-match if-modified-since te expect max-forwards dnt priority
    sec-fetch-site sec-ch-ua sec-websocket-key sec-websocket-protocol
    upgrade-insecure-requests x-tailscale-handshake x-user-id x-auth-token
    x-emby-authorization x-plex-token x-amz-date x-amz-content-sha256 x-ms-date
    x-goog-api-key x-csrf-token x-xsrf-token x-http-method-override depth
    destination overwrite lock-token timeout if oc-checksum x-oc-mtime
    docker-distribution-api-version git-protocol grpc-timeout grpc-encoding
    apollo-require-preflight hx-request x-ship x-zip x-tip x-description
    x-syno-token x-auth-key client-id x-user-agent tus-resumable upload-offset
    ocs-apirequest x-cool-wopi-ismodifiedbyuser x-transmission-session-id sudo
    private-token x-gitea-otp mcp-session-id kbn-xsrf x-kobo-userkey csrfpreventiontoken
    uid client expiry access-token api-access-token e-mail x-e-mail x-mail x-auth-id
    sec-fetch-user auth-email api-username impersonate-user impersonate-uid x-api-user
    x-amz-meta-uid x-amz-meta-user x-amz-meta-real-ip x-amz-meta-my_name.txt
"""


@pytest.mark.parametrize(
    "name", [*CLIENTS_SAY.split(), *(one.replace("*", "x_y") for one in EXCEPTIONS)]
)
def test_what_clients_say_for_themselves_passes(name: str) -> None:
    assert not re.compile(pattern()).match(name)


def test_settings_reach_the_configuration() -> None:
    settings = replace(SETTINGS, maxconn=77, hard_stop_after_s=5, request_s=0.25)
    rendered = render([ROUTE], settings, 3)
    assert "  maxconn 77\n" in rendered
    assert "  hard-stop-after 5s\n" in rendered
    assert "  timeout http-request 250ms\n" in rendered
    assert "  description generation-3\n" in rendered
