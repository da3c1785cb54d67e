"""A schema as a tree of plain objects: what JSON schema says, plus how Kubernetes merges lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OBJECT, ARRAY, STRING, INTEGER, NUMBER, BOOLEAN, ANY = "object", "array", "string", "integer", "number", "boolean", ""

INT_OR_STRING = "int-or-string"
QUANTITY = "quantity"
TIME = "date-time"
RAW_JSON = "raw-json"
"""An object that protobuf carries as JSON text (FieldsV1)."""


@dataclass(slots=True)
class Schema:
    """What a value may be.

    *type* is a JSON schema type, or ANY. *values* describes the values of a map, *properties* the fields of an object;
    an object with neither and without *preserve* has no fields. *merge_key* and *list_keys* tell the identity of an
    array's elements for strategic merge and for server-side apply; an array with neither is atomic unless it is a
    *set*.
    """

    type: str = ANY
    name: str = ""
    format: str = ""
    properties: dict[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    values: Schema | None = None
    items: Schema | None = None
    merge_key: str = ""
    list_keys: tuple[str, ...] = ()
    is_set: bool = False
    unique: bool = False
    """Two elements with equal *list_keys* are refused (custom kinds; built-in kinds have their own rules)."""
    atomic: bool = False
    preserve: bool = False
    nullable: bool = False
    enum: tuple[Any, ...] = ()
    pattern: str = ""
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    description: str = ""
    numbers: dict[int, str] = field(default_factory=dict)
    """Protobuf field numbers of an object's fields."""
    pointers: frozenset[str] = frozenset()
    """Fields that are pointers in Go: only for them does protobuf tell a zero from nothing."""
    embeds: dict[int, Schema] = field(default_factory=dict)
    """Protobuf fields whose message's fields are this object's own in JSON."""
    embedded: bool = False
    """An object that is a whole Kubernetes object itself (x-kubernetes-embedded-resource)."""
