"""Settings: one order, nothing ignored, and errors that say where a value came from."""

from dataclasses import dataclass
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest
import yaml

from hearthgate.home.settings import ADD_ON_OPTIONS, HomeSettings
from hearthgate.shared.process.log import LogLevel
from hearthgate.shared.settings.kinds import (
    PORT,
    SECRET,
    Secret,
    duration,
    integer,
    list_of,
)
from hearthgate.shared.settings.loader import (
    SettingsError,
    _leaves,
    load_settings,
    needed,
    section,
    setting,
)

ROOT = Path(__file__).parents[4]
# ruff: noqa: RUF009 (`setting` and `section` are dataclasses.field with a kind)


@dataclass(frozen=True, slots=True)
class Web:
    port: int = setting(PORT, 8099)
    idle: float = setting(duration(1, 3600), 60.0)


@dataclass(frozen=True, slots=True)
class Example:
    name: str = setting(SECRET, "default")
    ports: tuple[int, ...] = setting(list_of(PORT), ())
    web: Web = section(Web)


@dataclass(frozen=True, slots=True)
class Demanding:
    count: int = needed(integer(1, 9))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "options.yaml"
    path.write_text(text)
    return path


def problems_of(
    tmp_path: Path,
    text: str = "",
    environment: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(
            Example,
            file=written(tmp_path, text),
            environment=environment or {},
            flags=flags,
        )
    return str(caught.value)


def test_the_later_place_wins(tmp_path: Path) -> None:
    file = written(tmp_path, "web: {port: 1001}")
    variables = {"HEARTHGATE_WEB__PORT": "1002"}
    flags: dict[str, object] = {"web.port": 1003}
    nothing: dict[str, str] = {}
    loaded = [
        load_settings(Example, environment=nothing),
        load_settings(Example, file=file, environment=nothing),
        load_settings(Example, file=file, environment=variables),
        load_settings(Example, file=file, environment=variables, flags=flags),
    ]
    assert [one.web.port for one in loaded] == [8099, 1001, 1002, 1003]


def test_places_are_merged_setting_by_setting(tmp_path: Path) -> None:
    loaded = load_settings(
        Example,
        file=written(tmp_path, "web: {port: 1001}"),
        environment={"HEARTHGATE_WEB__IDLE": "2m"},
    )
    assert loaded.web == Web(port=1001, idle=120.0)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n# x\n", "web:\n"])
def test_a_file_without_settings_gives_the_defaults(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert load_settings(Example, file=file, environment={}) == Example()


def test_an_empty_value_is_not_given(tmp_path: Path) -> None:
    loaded = load_settings(
        Example,
        file=written(tmp_path, "web: {port: }"),
        environment={"HEARTHGATE_WEB__IDLE": "", "HEARTHGATE_NAME": ""},
        flags={"web.port": None, "ports": ()},
    )
    assert loaded == Example()


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    told = problems_of(tmp_path, "web: {prot: 80}")
    assert "web.prot in" in told
    assert "options.yaml" in told
    assert "Did you mean web.port?" in told


def test_an_unknown_variable_names_the_nearest_one(tmp_path: Path) -> None:
    told = problems_of(tmp_path, environment={"HEARTHGATE_WEB_PORT": "80"})
    assert "Did you mean HEARTHGATE_WEB__PORT?" in told


def test_variables_of_others_are_not_ours(tmp_path: Path) -> None:
    loaded = load_settings(
        Example,
        file=written(tmp_path, ""),
        environment={
            "PATH": "/bin",
            "HEARTHGATE_PORT": "tcp://10.0.0.1:443",
            "HEARTHGATE_SERVICE_HOST": "10.0.0.1",
            "HEARTHGATE_RELAY_SERVICE_PORT_HTTPS": "443",
            "HEARTHGATE_RELAY_PORT_443_TCP_ADDR": "10.0.0.1",
            "HEARTHGATE_OTHER": "x",
        },
        elsewhere=["OTHER"],
    )
    assert loaded == Example()


@pytest.mark.parametrize(
    ("text", "variables", "flags", "source"),
    [
        ("web: {port: 70000}", {}, {}, "web.port in "),
        ("", {"HEARTHGATE_WEB__PORT": "70000"}, {}, "HEARTHGATE_WEB__PORT is"),
        ("", {}, {"web.port": "70000"}, "--web-port is"),
    ],
)
def test_a_wrong_value_tells_where_it_came_from_and_what_is_allowed(
    tmp_path: Path,
    text: str,
    variables: dict[str, str],
    flags: dict[str, object],
    source: str,
) -> None:
    told = problems_of(tmp_path, text, variables, flags)
    assert told.startswith(source)
    assert "'70000'" in told
    assert "allowed is a whole number from 1 to 65535" in told


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    told = problems_of(
        tmp_path,
        "web: {port: 0}\nother: 1\n",
        {"HEARTHGATE_PORTS": "80,x"},
        {"web.idle": "soon"},
    )
    assert len(told.splitlines()) == 4


def test_a_wrong_secret_is_not_shown(tmp_path: Path) -> None:
    told = problems_of(tmp_path, environment={"HEARTHGATE_NAME": "s3cr\x00et"})
    assert "HEARTHGATE_NAME" in told
    assert "s3cr" not in told


def test_a_secret_hides_in_the_settings_it_belongs_to() -> None:
    loaded = load_settings(HomeSettings, environment={"HEARTHGATE_PASSWORD": "s3cret!"})
    assert loaded.password == Secret("s3cret!")
    assert "s3cret" not in repr(loaded)


def test_a_section_with_a_value_is_an_error(tmp_path: Path) -> None:
    told = problems_of(tmp_path, "web: 80")
    assert "allowed is a group of settings" in told


def test_a_setting_with_a_section_is_an_error(tmp_path: Path) -> None:
    assert "allowed is" in problems_of(tmp_path, "name: {a: b}")


def test_a_missing_setting_says_how_to_give_it() -> None:
    with pytest.raises(SettingsError, match="HEARTHGATE_COUNT") as caught:
        load_settings(Demanding, environment={})
    assert "a whole number from 1 to 9" in str(caught.value)
    loaded = load_settings(Demanding, environment={"HEARTHGATE_COUNT": "3"})
    assert loaded == Demanding(count=3)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"web: [",
        b"- web",
        b"a: 1\na: 2",
        b"a: &a [*a]",
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "options.yaml"
    file.write_bytes(raw)
    with pytest.raises(SettingsError, match=r"options\.yaml"):
        load_settings(Example, file=file, environment={})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(Example, file=tmp_path / "gone.yaml", environment={})


def test_a_flag_for_no_setting_is_a_bug() -> None:
    with pytest.raises(KeyError):
        load_settings(Example, environment={}, flags={"webport": 1})


@given(st.dictionaries(st.text(max_size=8), st.integers(), max_size=3))
def test_any_file_gives_settings_or_a_settings_error(data: dict[str, int]) -> None:
    environment = {f"HEARTHGATE_{key}": str(value) for key, value in data.items()}
    try:
        assert isinstance(load_settings(Example, environment=environment), Example)
    except SettingsError as err:
        assert str(err).strip()  # noqa: PT017 (either is fine)


# --- the home's ----------------------------------------------------------------------


def test_a_home_needs_no_setting() -> None:
    loaded = load_settings(HomeSettings, environment={})
    assert loaded == HomeSettings()
    assert (loaded.web.host, loaded.web.port) == ("0.0.0.0", 8099)
    assert loaded.acme.directory_url.startswith("https://acme-v02.")


def test_a_home_takes_all_of_them_from_a_file(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
data: /srv/hearthgate
dns_servers: [9.9.9.9, "[2620:fe::fe]:53", 192.0.2.1:5353]
web: {host: 127.0.0.1, port: 0}
acme: {directory: https://ca.example/dir, email: me@example.com, ca_file: /ca.pem,
       eab_key_id: abc, eab_hmac_key: xyz}
discovery: {enabled: no, interfaces: [eth0, 192.0.2.7]}
edge: {program: /usr/sbin/haproxy, maxconn: 500}
tunnel: {channels_min: 2, channels_max: 8}
log: {level: DEBUG, format: json}
""",
    )
    loaded = load_settings(HomeSettings, file=file, environment={})
    assert [str(one) for one in loaded.dns_servers] == [
        "9.9.9.9:53",
        "[2620:fe::fe]:53",
        "192.0.2.1:5353",
    ]
    assert loaded.log.level is LogLevel.DEBUG
    assert loaded.discovery.enabled is False
    assert loaded.acme.directory_url == "https://ca.example/dir"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"TUNNEL__CHANNELS_MIN": "80"}, "must not be above"),
        (
            {"ACME__STAGING": "yes", "ACME__DIRECTORY": "https://ca.example/"},
            "can't be used together",
        ),
        ({"ACME__EAB_KEY_ID": "abc"}, "need each other"),
    ],
)
def test_values_that_do_not_go_together_are_told_with_their_sources(
    variables: dict[str, str], told: str
) -> None:
    environment = {f"HEARTHGATE_{key}": value for key, value in variables.items()}
    with pytest.raises(SettingsError, match=told) as caught:
        load_settings(HomeSettings, environment=environment)
    assert all(key in str(caught.value) for key in environment)


def test_options_of_an_add_on_have_flat_names_and_stand_below_the_environment(
    tmp_path: Path,
) -> None:
    options = tmp_path / "options.json"
    options.write_text(
        '{"log_level": "debug", "tunnel_seal": true, "acme_email": "", '
        '"acme_staging": 1}'
    )
    found = load_settings(
        HomeSettings,
        options=options,
        offered=ADD_ON_OPTIONS,
        environment={"HEARTHGATE_LOG__LEVEL": "error"},
    )
    assert found.log.level is LogLevel.ERROR
    assert (found.tunnel.seal, found.acme.staging) == (True, True)
    assert found.acme.email is None


def test_the_options_are_those_that_the_add_on_offers() -> None:
    schema = yaml.safe_load((ROOT / "config.yaml").read_text())["schema"]
    assert [name.replace(".", "_") for name in ADD_ON_OPTIONS] == list(schema)


def test_what_is_a_setting_but_no_option_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A backup brought its own: other authorities, another Supervisor, another disk."""
    flat = {name.replace(".", "_"): "x" for name, _ in _leaves(HomeSettings)}
    offered = {name.replace(".", "_") for name in ADD_ON_OPTIONS}
    refused = {name: value for name, value in flat.items() if name not in offered}
    assert {"data", "web_host", "hass_supervisor", "edge_program"} <= set(refused)
    options = tmp_path / "options.json"
    options.write_text(json.dumps({**refused, "hass": {"token": "x"}}))
    found = load_settings(
        HomeSettings, options=options, offered=ADD_ON_OPTIONS, environment={}
    )
    assert found == load_settings(HomeSettings, environment={})
    (line,) = caplog.messages
    assert line.startswith(f"options.json has {len(refused) + 1} names that are no")


def test_an_option_that_is_left_over_does_not_keep_a_home_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = tmp_path / "options.json"
    options.write_text(json.dumps({"of_last_year": True, "\x1b[2J\n" + "x" * 500: 1}))
    found = load_settings(
        HomeSettings, options=options, offered=ADD_ON_OPTIONS, environment={}
    )
    assert found.web.port == 8099
    (line,) = caplog.messages
    assert "'of_last_year'" in line
    assert line.isprintable()
    assert len(line) < 300


def test_a_wrong_option_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    options = tmp_path / "options.json"
    options.write_text('{"log_level": "loud"}')
    with pytest.raises(SettingsError, match="the option log_level is 'loud'"):
        load_settings(
            HomeSettings, options=options, offered=ADD_ON_OPTIONS, environment={}
        )
