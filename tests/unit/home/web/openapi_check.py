"""Check JSON against the part of JSON Schema that openapi.yaml uses.

Stricter than the standard in one point: an object may have no properties but the
described ones and those that additionalProperties fit, so that the description can't
fall behind. Unknown words are errors.
"""

import re
from typing import Any

Schema = dict[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = {
    "$ref", "type", "description", "required", "properties", "items", "enum", "const",
    "oneOf", "pattern", "minLength", "maxLength", "minProperties",
    "additionalProperties",
}  # fmt: skip


def faults(value: object, schema: Schema, document: Schema, at: str = "$") -> list[str]:
    """Return what is wrong with a value; nothing if it fits."""
    if "$ref" in schema:
        return faults(value, resolve(schema["$ref"], document), document, at)
    unknown = set(schema) - _KNOWN
    if unknown:
        return [f"{at}: the checker does not know {sorted(unknown)}"]
    if "oneOf" in schema:
        tried = [faults(value, one, document, at) for one in schema["oneOf"]]
        fitting = sum(not one for one in tried)
        return [] if fitting == 1 else [f"{at}: {fitting} of oneOf fit: {tried}"]
    if "const" in schema:
        return [] if value == schema["const"] else [f"{at}: {value!r}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is none of enum"]
    return _type_faults(value, schema, document, at)


def resolve(reference: str, document: Schema) -> Schema:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    schema: Schema = found
    return schema


def _type_faults(value: object, schema: Schema, document: Schema, at: str) -> list[str]:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [f"{at}: {value!r} is not {kinds}"]
    if isinstance(value, dict) and schema.keys() & {
        "properties",
        "additionalProperties",
    }:
        return _object_faults(value, schema, document, at)
    if isinstance(value, list):
        return [
            fault
            for place, one in enumerate(value)
            for fault in faults(one, schema["items"], document, f"{at}[{place}]")
        ]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return [f"{at}: {value!r} does not match {schema['pattern']}"]
    return []


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _object_faults(
    value: dict[str, object], schema: Schema, document: Schema, at: str
) -> list[str]:
    properties, others = (
        schema.get("properties", {}),
        schema.get("additionalProperties"),
    )
    needed = schema.get("required", [])
    found = [f"{at}: {key} is missing" for key in needed if key not in value]
    for key, one in value.items():
        described = properties.get(key, others)
        if described is not None:
            found += faults(one, described, document, f"{at}.{key}")
        else:
            found.append(f"{at}: {key} is not described")
    return found
