"""YAML as we store it and let users write it: one mapping, nothing clever.

Refused are aliases and anchors (a kilobyte of them can stand for gigabytes), tags,
a key given twice (the first value would vanish without a word) and anything that is
not UTF-8. The caller bounds the size. Does no I/O.
"""

from collections.abc import Hashable
from enum import Enum
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode


class PlainYamlError(Exception):
    """Raise if bytes are not the plain YAML that we accept. Says what and where."""


class _Loader(yaml.SafeLoader):
    """Compose only what a plain file may contain."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # stubs have no types
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConstructorError(
                None, None, "anchors and aliases are not allowed", event.start_mark
            )
        if getattr(event, "tag", None):
            raise ConstructorError(
                None, None, f"the tag {event.tag} is not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(
        self,
        node: MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 (the signature of PyYAML)
    ) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _value in node.value if isinstance(key, ScalarNode)):
            if key.value in seen:
                raise ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Write enumerations as their value, and never an alias: we don't read them."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _represent_enum(dumper: yaml.SafeDumper, value: Enum) -> Node:
    return dumper.represent_data(value.value)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> Node:
    # PyYAML folds U+0085, a line break to it, into blanks unless it is escaped.
    style = '"' if "\x85" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_multi_representer(Enum, _represent_enum)


def parse_yaml(raw: bytes) -> dict[str, Any]:
    """Return the mapping in raw. Raises PlainYamlError."""
    try:
        data = yaml.load(raw.decode(), _Loader)  # noqa: S506 (built on SafeLoader)
    except UnicodeDecodeError as err:
        raise PlainYamlError(f"it is not UTF-8 text (byte {err.start})") from err
    except yaml.YAMLError as err:
        raise PlainYamlError(f"it is not plain YAML: {_in_words(err)}") from err
    except ValueError as err:  # dates like 2026-99-99, numbers with 5,000 digits
        raise PlainYamlError(f"it has a value that can't be: {err}") from err
    except RecursionError as err:
        raise PlainYamlError("it is nested too deeply") from err
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise PlainYamlError("it is not a list of `name: value` lines")
    return data


def dump_yaml(data: dict[str, Any]) -> str:
    """Return data as text that parse_yaml reads back, in the order given."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=88
    )
    return text


def _in_words(err: yaml.YAMLError) -> str:
    if not isinstance(err, yaml.MarkedYAMLError):
        return " ".join(str(err).split())
    mark = err.problem_mark or err.context_mark
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{err.problem or err.context}{place}"
