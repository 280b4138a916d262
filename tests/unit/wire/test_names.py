"""Hostnames and addresses: one spelling, and what is none."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.wire.names import (
    AddressInvalidError,
    HostnameInvalidError,
    describe_hostname,
    fold_hostname,
    format_address,
    is_below,
    normalise_host,
    normalise_hostname,
    parse_address,
    show_hostname,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("photos.example.com", "photos.example.com"),
        (" Photos.EXAMPLE.com. ", "photos.example.com"),
        ("fotos.MÜLLER.example", "fotos.xn--mller-kva.example"),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("a。b.example", "a.b.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("STRASSE.example", "strasse.example"),
        ("STRAẞE.example", "xn--strae-oqa.example"),
        ("faß.de", "xn--fa-hia.de"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("Bu\u0308cher.example", "xn--bcher-kva.example"),
        # The four deviations of UTS 46 §7, as its table has them.
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("βόλοσ.example", "xn--nxasmq6b.example"),
        ("ΒΌΛΟΣ.example", "xn--nxasmq6b.example"),
        ("ශ්\u200dරී.example", "xn--10cl1a0b660p.example"),  # joins, so it may
        ("نامه\u200cای.example", "xn--mgba3gch31f060k.example"),
        ("ｐｈｏｔｏｓ。ｅｘａｍｐｌｅ．", "photos.example"),
        ("a\u00adb.example", "ab.example"),  # soft hyphen
        ("ﬁ.example", "fi.example"),
        ("l·l.example", "xn--ll-0ea.example"),
        ("אבג.example", "xn--4dbcd.example"),
        ("XN--STRAE-OQA.Example.", "xn--strae-oqa.example"),
        ("xn--fa-hia.büro.example", "xn--fa-hia.xn--bro-hoa.example"),
        ("a--b.r4---sn.example", "a--b.r4---sn.example"),
        ("ü" * 57 + ".example", "xn--td" + "a" * 57 + ".example"),
        ("x" * 63 + ".example", "x" * 63 + ".example"),
        (".".join(["x" * 62] * 4), ".".join(["x" * 62] * 4)),
    ],
)
def test_a_hostname_has_one_spelling(text: str, name: str) -> None:
    assert normalise_hostname(text) == name
    assert normalise_hostname(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "..", "localhost", "example.com..", ".example.com", "a..b.com"),
        *("-a.example", "a-.example", "a b.example", "a/b.example", "*.example.com"),
        *("203.0.113.5", "2001:db8::1", "[2001:db8::1]", "a.example:443", "a.1"),
        *("https://a.example", "a\n.example", "a\0.example", "x" * 64 + ".example"),
        *(".".join(["x" * 62] * 4) + "xx", "ü" * 64 + ".example"),
        *("\ud800.example", "é" * 5000, "ü" * 58 + ".example", "٠" * 1024 + ".example"),
        # What IDNA 2008 does not allow.
        *("I❤.example", "💩.example", "a\u200db.example", "a\u200cb.example"),
        *(
            "·.example",
            "½.example",
            "⒈.example",
            "a\u202eb.example",
            "a\u0300\u200d.de",
        ),
        *("אa.example", "1a.אב.example", "٣a.example", "xn--4dbc.1a.example"),
        # A-labels that stand for none, or for another one.
        *("xn--a.example", "xn--.example", "xn--abc-.example", "xn--ls8h.example"),
        *("xn--straße-oqa.example", "xn--STRASSE-.example", "xn--1ch.example"),
        *("xn--xn--a.example", "xn--99999999.example", "xn--é.example"),
        *("_acme.example", "a_ü.example", "ü..example", "。example", "ü.", "ü"),
    ],
)
def test_what_no_certificate_could_name_is_no_hostname(text: str) -> None:
    with pytest.raises(HostnameInvalidError) as caught:
        normalise_hostname(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("xn--strae-oqa.example", "straße.example"),
        ("fotos.xn--mller-kva.example", "fotos.müller.example"),
        ("xn--10cl1a0b660p.example", "ශ්\u200dරී.example"),
        (
            "xn--n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa.jp",
            "なぜみんな日本語を話してくれないのか.jp",
        ),
        ("photos.example", "photos.example"),
        # Not to be typed, not a name, or made to look like another one.
        ("xn--ls8h.example", "xn--ls8h.example"),
        ("xn--a.example", "xn--a.example"),
        ("xn--pple-43d.example", "xn--pple-43d.example"),
    ],
)
def test_a_name_is_shown_as_it_can_be_typed(name: str, shown: str) -> None:
    assert show_hostname(name) == shown
    described = name if shown == name else f"{shown} ({name})"
    assert describe_hostname(name) == described


@pytest.mark.parametrize(
    "name", ["xn--ls8h.example", "xn--a.example", "strasse.example", "xn--1ch.example"]
)
def test_names_that_are_stored_or_sent_are_not_judged_by_newer_rules(name: str) -> None:
    assert fold_hostname(name) == name
    assert fold_hostname(f" {name.upper()}. ") == name


@pytest.mark.parametrize(
    "name", ["straße.example", "ｐhotos.example", "a。b.example", "İ.example"]
)
def test_names_that_are_stored_or_sent_are_in_a_labels(name: str) -> None:
    with pytest.raises(HostnameInvalidError):
        fold_hostname(name)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("NAS.local.", "nas.local"),
        ("my_nas", "my_nas"),
        ("_nas.fritz.box", "_nas.fritz.box"),
        ("küche.fritz.box", "xn--kche-0ra.fritz.box"),
        ("straße", "xn--strae-oqa"),
        ("xn--ls8h.example", "xn--ls8h.example"),
    ],
)
def test_a_machine_at_home_may_have_a_looser_name(text: str, host: str) -> None:
    assert normalise_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a..b", "küche.local", "💩", "a_ü.fritz.box", "-nas", "127.1"),
        *("0x7f000001", "ü" * 64, "x" * 64, "a b", "1.2.3.4", "::1", "a\0", "é" * 5000),
    ],
)
def test_what_no_resolver_could_look_up_is_no_host(text: str) -> None:
    with pytest.raises(HostnameInvalidError):
        normalise_host(text)


@given(st.text(max_size=80))
def test_any_text_is_a_stable_hostname_or_none(text: str) -> None:
    try:
        name = normalise_hostname(text)
    except HostnameInvalidError:
        return
    assert name == normalise_hostname(name) == name.lower() == fold_hostname(name)
    assert normalise_hostname(show_hostname(name)) == name
    assert name.isascii()


@pytest.mark.parametrize(
    ("hostname", "domain", "covered"),
    [
        ("example.com", "example.com", True),
        ("a.b.example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("example.com", "a.example.com", False),
        ("example.com.evil.test", "example.com", False),
    ],
)
def test_below_a_domain_is_the_domain_and_whole_labels_under_it(
    hostname: str, domain: str, covered: bool
) -> None:
    assert is_below(hostname, domain) is covered


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("relay.example.com", "relay.example.com", 443),
        ("Relay.Example.com.:8443", "relay.example.com", 8443),
        ("203.0.113.5", "203.0.113.5", 443),
        ("203.0.113.5:65535", "203.0.113.5", 65535),
        ("2001:db8::5", "2001:db8::5", 443),
        ("[2001:0DB8::5]", "2001:db8::5", 443),
        ("[2001:db8::5]:1", "2001:db8::5", 1),
        ("localhost:8443", "localhost", 8443),
        ("relay.example.com:", "relay.example.com", 443),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert parse_address(format_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "relay", "relay.example.com:0", "relay.example.com:65536", "a.example:x"),
        *("[2001:db8::5", "2001:db8::5]", "[relay.example.com]:1", "[2001:db8::5]1"),
        *("203.0.113.5:-1", "203.0.113.5:1:2", "https://a.example", "a.example:٣"),
        *("a.example:99999999999999999999", ":443", "a b.example"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(AddressInvalidError):
        parse_address(text)
