"""What can be wrong with a name and a password."""

from hearthgate.errors import HearthgateError


class AccessError(HearthgateError):
    """Raise if a name or a password cannot be used."""

    code = "access_invalid"
    message = "This name or password cannot be used: {reason}"


class PasswordNotHashedError(AccessError):
    """Raise if the system's crypt(3) is missing or refuses."""

    code = "password_not_hashed"
    message = "The password could not be stored safely: {reason}"
    status = 500
