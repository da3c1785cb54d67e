"""The compact notation in which the built-in kinds are written down.

::

    ContainerPort                                   a type; its fields are indented
      containerPort! int min=1 max=65535            a field that is required
      protocol string enum=TCP|UDP|SCTP default=TCP
    Container
      ports []ContainerPort key=containerPort keys=containerPort,protocol
      resources ResourceRequirements default={}

Field types: ``string int number bool quantity intstr time bytes any object raw``, ``[]T``, ``map[T]`` and names of
types. Flags: ``!`` required, ``key=`` the strategic merge key, ``keys=`` the list-map keys of server-side apply
(default: the merge key), ``set`` a list of unique scalars, ``atomic`` replaced as a whole, ``#`` the field's number in
protobuf, and ``enum= min= max= pattern= default=``.
"""

from __future__ import annotations

import json
from typing import Any

from podwire.lab.apiserver.schema.model import (
    ANY,
    ARRAY,
    BOOLEAN,
    INT_OR_STRING,
    INTEGER,
    NUMBER,
    OBJECT,
    QUANTITY,
    RAW_JSON,
    STRING,
    TIME,
    Schema,
)

_SCALARS: dict[str, tuple[str, str]] = {
    "string": (STRING, ""),
    "int": (INTEGER, ""),
    "number": (NUMBER, ""),
    "bool": (BOOLEAN, ""),
    "quantity": (STRING, QUANTITY),
    "intstr": (ANY, INT_OR_STRING),
    "time": (STRING, TIME),
    "bytes": (STRING, "byte"),
    "any": (ANY, ""),
}


class Types:
    """A set of named types that may refer to each other, whatever their order."""

    def __init__(self) -> None:
        self._named: dict[str, Schema] = {}

    def __getitem__(self, name: str) -> Schema:
        return self._named[name]

    def named(self) -> dict[str, Schema]:
        """All types by name."""
        return dict(self._named)

    def undefined(self) -> list[str]:
        """Names that are referred to and were never given a field: mistakes in the notation, which a test looks for."""
        return sorted(name for name, schema in self._named.items() if not schema.properties)

    def load(self, package: str, text: str) -> None:
        """Add the types of *text*; *package* is the prefix of their OpenAPI names, such as ``io.k8s.api.core.v1``."""
        current: Schema | None = None
        for line in text.splitlines():
            if not line.strip():
                continue
            if line.startswith("  * ") and current is not None:
                self._embed(current, line.split())
            elif not line.startswith(" "):
                current = self._reference(line.strip())
                current.name = f"{package}.{line.strip()}"
            elif current is not None:
                self._field(current, line.split())

    def _reference(self, name: str) -> Schema:
        return self._named.setdefault(name, Schema(OBJECT))

    def _type(self, text: str) -> Schema:
        if text in _SCALARS:
            kind, form = _SCALARS[text]
            return Schema(kind, format=form)
        if text in ("object", "raw"):
            return Schema(OBJECT, preserve=True, format=RAW_JSON if text == "raw" else "")
        if text.startswith("[]"):
            return Schema(ARRAY, items=self._type(text[2:]))
        if text.startswith("map["):
            return Schema(OBJECT, values=self._type(text[4:-1]))
        return self._reference(text)

    def _embed(self, parent: Schema, words: list[str]) -> None:
        """``* Type #1``: the fields of *Type*, defined above, are this type's own; protobuf has them in a message below."""
        inner = self._reference(words[1])
        parent.properties.update(inner.properties)
        parent.required += inner.required
        parent.defaults.update(inner.defaults)
        parent.embeds[int(words[2][1:])] = inner

    def _field(self, parent: Schema, words: list[str]) -> None:
        name, schema = words[0].removesuffix("!"), self._type(words[1])
        if words[0].endswith("!"):
            parent.required += (name,)
        for flag in words[2:]:
            key, _, value = flag.partition("=")
            if key.startswith("#"):
                _number(parent, name, key)
            elif key == "default":
                parent.defaults[name] = _literal(value)
            else:
                _set_flag(schema, key, value)
        parent.properties[name] = schema


def _number(parent: Schema, name: str, text: str) -> None:
    """``#3``: the field's number in protobuf; ``#3*``: of a pointer in Go, where a zero is a value and not absence."""
    parent.numbers[int(text[1:].rstrip("*"))] = name
    if text.endswith("*"):
        parent.pointers |= {name}


def _set_flag(schema: Schema, key: str, value: str) -> None:
    match key:
        case "key":
            schema.merge_key = value
            schema.list_keys = schema.list_keys or (value,)
        case "keys":
            schema.list_keys = tuple(value.split(","))
        case "set":
            schema.is_set = True
        case "atomic":
            schema.atomic = True
        case "enum":
            schema.enum = tuple(value.split("|"))
        case "pattern":
            schema.pattern = value
        case "min":
            schema.minimum = int(value)
        case "max":
            schema.maximum = int(value)
        case _:
            raise ValueError(f"unknown flag {key!r}")


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
