"""What a user may get wrong about discovery. Not for what devices do: that is data."""

from typing import ClassVar

from hearthgate.errors import HearthgateError

__all__ = ["InterfaceNotAnAddressError"]


class InterfaceNotAnAddressError(HearthgateError):
    """Raise if an interface to search on is not given as an IPv4 address."""

    code: ClassVar[str] = "interface_not_an_address"
    message: ClassVar[str] = "{interface} is not an IPv4 address of this machine."
    hint: ClassVar[str] = (
        "Write an address such as 192.0.2.10, or leave the list empty."
    )
