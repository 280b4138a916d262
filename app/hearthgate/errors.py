"""The root of every error that a user may read.

An error carries a sentence for the user, a code for the API, fields for a translation
and, by `raise … from`, the cause for the log. The concrete classes live with their
package, never here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

_NO_FIELDS: Final[Mapping[str, str]] = MappingProxyType({})


def quoted(
    code: str, message: str, hint: str = "", fields: Mapping[str, str] = _NO_FIELDS
) -> dict[str, str]:
    """Return the fields of an error that says what another one said.

    Its message is {message} and its hint {hint}; `said` is the code of the other one.
    """
    return {**fields, "message": message, "hint": hint, "said": code}


class HearthgateError(Exception):
    """Raise a subclass of this if a rule is broken in a way that a user can mend."""

    code: ClassVar[str] = "error"
    message: ClassVar[str] = "Something went wrong."
    hint: ClassVar[str] = ""  # what to do about it; may use the same fields
    status: ClassVar[int] = 400  # HTTP status of an API answer

    def __init__(self, /, **fields: object) -> None:
        """Keep the fields that message and hint name."""
        super().__init__(fields)
        self.fields = fields

    def __str__(self) -> str:
        return self.message.format(**self.fields)

    @property
    def advice(self) -> str:
        """What to do about it; empty if there is nothing to say."""
        return self.hint.format(**self.fields)

    def told_fields(self) -> dict[str, str]:
        """Return the fields as text, for whoever puts the error into other words."""
        return {key: str(value) for key, value in self.fields.items()}

    def as_dict(self) -> dict[str, object]:
        """Return the error as an API answer carries it."""
        return {
            "code": self.code,
            "message": str(self),
            "hint": self.advice,
            "fields": self.told_fields(),
        }
