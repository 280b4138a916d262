"""What the web refuses, and with which HTTP status."""

from hearthgate.errors import HearthgateError


class WebNotStartedError(HearthgateError):
    """Raise if the page cannot be served at its address."""

    code = "web_not_started"
    message = "The page can't be served at {address}: {reason}."
    hint = "Stop what uses this address, or set another one (HEARTHGATE_WEB__PORT)."
    status = 500


class PeerUnknownError(HearthgateError):
    """Raise if somebody else than Home Assistant connects to the page behind it."""

    code = "peer_unknown"
    message = "This page is served through Home Assistant only, not to {address}."
    hint = "Open it in Home Assistant, by its entry in the side bar."
    status = 403


class HostUnknownError(HearthgateError):
    """Raise if the page is asked for under a name that could be a stranger's."""

    code = "host_unknown"
    message = "This page does not answer to the name {host}."
    hint = (
        "Open it by the address of this machine. If {host} is a name of yours, such as "
        "that of your reverse proxy, add it to the setting web.hosts "
        "(HEARTHGATE_WEB__HOSTS) and start Hearthgate again."
    )
    status = 421


class NotFoundError(HearthgateError):
    """Raise if there is nothing at a path."""

    code = "not_found"
    message = "There is nothing at {path}."
    status = 404


class NotJsonError(HearthgateError):
    """Raise if a body is not JSON."""

    code = "not_json"
    message = "The request is not JSON: {reason}."
    hint = "Send an object with the content type application/json."


class NotJsonTypeError(NotJsonError):
    """Raise if a body does not even claim to be JSON."""

    status = 415


class InvalidBodyError(HearthgateError):
    """Raise if a body is JSON but not what the request takes."""

    code = "invalid_body"
    message = "{field}: {reason}."
    status = 422


class InvalidValueError(InvalidBodyError):
    """Raise if a field's value is wrong in a way that has an error of its own.

    `quoted` has the fields: that error's words are for the user, who sees no names of
    fields, and `field` is for a program.
    """

    message = "{message}"
    hint = "{hint}"


class BodyTooLargeError(HearthgateError):
    """Raise if a body exceeds what any request of ours needs."""

    code = "body_too_large"
    message = "The request is larger than the {limit} bytes that are allowed."
    status = 413


class BodyTooSlowError(HearthgateError):
    """Raise if a body does not arrive in time."""

    code = "body_too_slow"
    message = "The request did not arrive within {seconds} seconds."
    status = 408


class CrossSiteError(HearthgateError):
    """Raise if another page tries to use the user's session."""

    code = "cross_site"
    message = "This request came from another page and was refused."
    hint = "Open Hearthgate itself and try again."
    status = 403


class LoginNeededError(HearthgateError):
    """Raise if nobody is logged in."""

    code = "login_needed"
    message = "Log in first."
    status = 401


class WrongPasswordError(HearthgateError):
    """Raise if the password is not the one."""

    code = "wrong_password"
    message = "This password is not right."
    status = 401


class TooManyLoginsError(HearthgateError):
    """Raise if somebody tries passwords faster than a person would."""

    code = "too_many_logins"
    message = "There were too many wrong passwords. Try again in {seconds} seconds."
    status = 429


class WeakPasswordError(HearthgateError):
    """Raise if a password for the page is too easy to guess."""

    code = "weak_password"
    message = "The password must have {least} to {most} characters."


class PasswordInSettingsError(HearthgateError):
    """Raise if a password that is set here would last until the next start only."""

    code = "password_in_settings"
    message = "The password comes from the settings, which win at each start."
    hint = (
        "Change it there: HEARTHGATE_PASSWORD, or password in the settings file. "
        "Without it there, the page can change it."
    )
    status = 409


class NoLoginError(HearthgateError):
    """Raise if somebody logs in where no login exists."""

    code = "no_login"
    message = "There is no login here: who reaches this page is known already."
    status = 404


class TooManyPagesError(HearthgateError):
    """Raise if more pages want live state than a household has open."""

    code = "too_many_pages"
    message = "{limit} pages are open already."
    hint = "Close one of them."
    status = 503
