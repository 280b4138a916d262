"""The home's problems in another language, where no page does it: in notifications.

    {code, message, hint, fields} + "de" ──▶ message and hint

The texts are the page's own, read as js/problems.js there reads them: `errors` has
other words for a code, to be filled with the fields, and `sentences` has those for what
may stand in a field, by its English form. `said` is a field with the code of whom an
error quotes: a relay, or an earlier failure. What has no entry stays English, and so
does what comes without the fields that its entry names, as from another version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import functools
import json
from pathlib import Path
import re
from typing import Any, Final

__all__ = ["Words", "words"]

_TEXTS: Final = Path(__file__).parents[1] / "web" / "page" / "translations" / "problems"
_PLACE: Final = re.compile(r"\{(\w+)\}")
# A relay may say much. Nothing of ours is longer, and matching takes its time.
_SENTENCE_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Words:
    """What there is of one language; nothing at all of English."""

    errors: Mapping[str, Mapping[str, str]]
    sentences: tuple[tuple[re.Pattern[str], str], ...]

    def told(self, problem: Mapping[str, Any]) -> tuple[str, str]:
        """Return message and hint of a problem as the API shows it."""
        fields: Mapping[str, str] = problem["fields"]
        for code in (fields.get("said", ""), problem["code"]):
            found = self.errors.get(code, {})
            texts = found.get("message", ""), found.get("hint", "")
            if found and fields.keys() >= set(_PLACE.findall("".join(texts))):
                message, hint = (self._fill(text, fields) for text in texts)
                return message, hint
        return self.sentence(problem["message"]), self.sentence(problem["hint"])

    def sentence(self, text: str) -> str:
        """Return a sentence, or the part of one, in this language."""
        if len(text) > _SENTENCE_MAX:
            return text
        for form, words_ in self.sentences:
            if found := form.fullmatch(text):
                return self._fill(words_, found.groupdict())
        return text

    def _fill(self, text: str, fields: Mapping[str, str]) -> str:
        return _PLACE.sub(lambda found: self.sentence(fields[found[1]]), text)


def words(language: str) -> Words:
    """Return the words of a language such as de-CH; none if we do not have it."""
    return _read(language.lower().partition("-")[0])


@functools.cache
def _read(language: str) -> Words:
    have = {path.stem: path for path in _TEXTS.glob("*.json")}
    if language not in have:
        return Words({}, ())
    texts = json.loads(have[language].read_text("utf-8"))
    forms = ((_form(english), other) for english, other in texts["sentences"].items())
    return Words(texts["errors"], tuple(forms))


def _form(english: str) -> re.Pattern[str]:
    """Return the pattern of a sentence: "It is in {path}" matches "It is in x"."""
    parts = _PLACE.split(english)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = (f"(?P<{name}>.+)" for name in parts[1::2])
    return re.compile("".join(parts), re.DOTALL)
