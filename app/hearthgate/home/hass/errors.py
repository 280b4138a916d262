"""What can go wrong between a home and Home Assistant."""

from hearthgate.errors import HearthgateError


class SupervisorAwayError(HearthgateError):
    """Raise if the Supervisor gives no answer that can be used."""

    code = "supervisor_away"
    message = "Home Assistant's Supervisor does not answer: {reason}."
    hint = "It is asked again by itself. Restart the add-on if this stays."
    status = 503


class SupervisorRefusedError(HearthgateError):
    """Raise if the Supervisor says no."""

    code = "supervisor_refused"
    message = "Home Assistant's Supervisor refused {path}: {reason}."
    hint = "Restart the add-on; update it if this stays."
    status = 502


class CoreAwayError(HearthgateError):
    """Raise if Core cannot be asked now, as while it restarts."""

    code = "core_away"
    message = "Home Assistant does not answer: {reason}."
    hint = "Wait until it has started, then try again."
    status = 503


class CoreRefusedError(HearthgateError):
    """Raise if Core refuses a command, with its own words."""

    code = "core_refused"
    message = "Home Assistant refused “{command}”: {reason}."
    hint = "The log of Home Assistant says more."
    status = 502


class CommandUnknownError(CoreRefusedError):
    """Raise if Core does not know a command, because it is older than that."""

    code = "core_too_old"


class CoreStartsError(CoreRefusedError):
    """Raise if Core refuses because it has not started to the end."""

    code = "core_starts"
    message = "Home Assistant is still starting."
    hint = "Wait a minute, then try again."
    status = 503


class NoHomeAssistantError(HearthgateError):
    """Raise if something of Home Assistant is wanted where there is none."""

    code = "no_home_assistant"
    message = "This home does not run in Home Assistant."
    status = 404


class TrustBusyError(HearthgateError):
    """Raise if Home Assistant is being changed already."""

    code = "trust_busy"
    message = "Home Assistant is being changed already."
    hint = "Wait until it has restarted."
    status = 409


class StillRefusedError(HearthgateError):
    """Raise if Core refuses visitors even with the new settings."""

    code = "still_refused"
    message = "Home Assistant still refuses visitors with its new settings: {reason}."
    hint = (
        "It goes back to its old settings by itself within five minutes, and restarts "
        "for it."
    )
    status = 502


class ChangeNotSeenError(HearthgateError):
    """Raise if Core did not come back with the new settings."""

    code = "change_not_seen"
    message = "Home Assistant did not come back with its new settings: {reason}."
    hint = "If it tried them, it goes back to its old ones by itself."
    status = 502


class WentBackError(HearthgateError):
    """Raise if Core has gone back to its old settings, and why."""

    code = "went_back"
    message = "{before} It has gone back to its old settings by itself."
    hint = "Mend that, then try again."
    status = 502


class NoPublicAddressError(HearthgateError):
    """Raise if Home Assistant's public address is wanted and it has none."""

    code = "no_public_address"
    message = "Home Assistant is not on the Internet."
    hint = "Switch it on first."
    status = 409


class TrialElsewhereError(HearthgateError):
    """Raise if Core's HTTP settings have been changed elsewhere and not confirmed."""

    code = "trial_elsewhere"
    message = "Home Assistant has new network settings that nobody has confirmed yet."
    hint = "Confirm them in Home Assistant, or wait five minutes, then try again."
    status = 409


class BrokerAwayError(HearthgateError):
    """Raise if an MQTT broker does not answer, refuses, or ends the connection."""

    code = "broker_away"
    message = "The MQTT broker at {host}:{port} is not there for us: {reason}."
    hint = (
        "Check that it runs, and its address and login. Services stay as they are; the "
        "switches and sensors in Home Assistant come back by themselves."
    )
    status = 502
