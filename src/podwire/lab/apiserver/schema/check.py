"""Check an object against its schema in one walk: prune what is unknown, fill in defaults, collect what is wrong.

The walk changes the object in place. Fields that hold null are dropped first, as Kubernetes does, unless the schema
allows null.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.errors import Cause
from podwire.lab.apiserver.schema.model import (
    ANY,
    ARRAY,
    BOOLEAN,
    INT_OR_STRING,
    INTEGER,
    NUMBER,
    OBJECT,
    QUANTITY,
    STRING,
    TIME,
    Schema,
)

_QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_IMPLICIT = frozenset(("apiVersion", "kind", "metadata"))
MAX_DEPTH = 64
"""Nothing that people write is nested deeper; a recursion bomb is refused before Python's own limit."""


@dataclass
class Report:
    """What the walk found. *unknown* are paths that were pruned; *mistyped* and *wrong* are causes for a refusal."""

    unknown: list[str] = field(default_factory=list)
    mistyped: list[Cause] = field(default_factory=list)
    wrong: list[Cause] = field(default_factory=list)


def check(schema: Schema, value: Any, report: Report, path: str = "", depth: int = 0) -> Any:
    """Return *value*, pruned and with defaults; what is wrong with it goes into *report*."""
    if depth > MAX_DEPTH:
        report.wrong.append(Cause(path, f"must not be nested deeper than {MAX_DEPTH} levels", errors.INVALID))
        return value
    expected = _TYPES.get(schema.type)
    if expected is not None and not expected(value):
        if schema.format == QUANTITY and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        report.mistyped.append(_mistyped(path, value, schema.type))
        return value
    if schema.type == OBJECT:
        _object(schema, value, report, path, depth)
    elif schema.type == ARRAY:
        _array(schema, value, report, path, depth)
    elif schema.format == INT_OR_STRING and not (_is_int(value) or isinstance(value, str)):
        report.mistyped.append(_mistyped(path, value, "integer or string"))
        return value
    _limits(schema, value, report, path)
    return value


def _is_int(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_TYPES: dict[str, Callable[[Any], bool]] = {
    OBJECT: lambda value: isinstance(value, dict),
    ARRAY: lambda value: isinstance(value, list),
    STRING: lambda value: isinstance(value, str),
    INTEGER: _is_int,
    NUMBER: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    BOOLEAN: lambda value: isinstance(value, bool),
}


def _mistyped(path: str, value: Any, expected: str) -> Cause:
    given = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    name = given.get(type(value), "null")
    return Cause(path, f'Invalid value: "{name}": must be of type {expected}', "FieldValueTypeInvalid")


def _object(schema: Schema, value: dict[str, Any], report: Report, path: str, depth: int) -> None:
    known, prefix = schema.properties, f"{path}." if path else ""
    for key in list(value):
        child, item = known.get(key), value[key]
        if child is None and schema.values is not None:
            value[key] = check(schema.values, item, report, f"{path}[{key}]", depth + 1)
        elif child is None:
            if not schema.preserve and not (schema.embedded and key in _IMPLICIT):
                del value[key]
                report.unknown.append(prefix + key)
        elif item is None and not child.nullable:
            del value[key]
        elif item is not None:
            value[key] = check(child, item, report, prefix + key, depth + 1)
    for key, default in schema.defaults.items():
        if key not in value:
            filled = copy.deepcopy(default) if isinstance(default, dict | list) else default
            value[key] = check(known[key], filled, report, prefix + key, depth + 1)
    missing = (None, "") if schema.name else (None,)  # an empty string is no value in a built-in kind
    report.wrong.extend(errors.required(prefix + key) for key in schema.required if value.get(key) in missing)


def _array(schema: Schema, value: list[Any], report: Report, path: str, depth: int) -> None:
    if schema.items is not None:
        for index, item in enumerate(value):
            value[index] = check(schema.items, item, report, f"{path}[{index}]", depth + 1)
    if schema.min_items is not None and len(value) < schema.min_items:
        report.wrong.append(errors.invalid(path, len(value), f"should have at least {schema.min_items} items"))
    if schema.max_items is not None and len(value) > schema.max_items:
        report.wrong.append(errors.invalid(path, len(value), f"must have at most {schema.max_items} items"))
    if schema.unique:
        _unique(schema, value, report, path)


def _unique(schema: Schema, value: list[Any], report: Report, path: str) -> None:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if isinstance(item, dict) and all(key in item for key in schema.list_keys):
            identity = repr([item[key] for key in schema.list_keys])
            if identity in seen:
                shown = ", ".join(f'{key}="{item[key]}"' for key in schema.list_keys)
                report.wrong.append(errors.duplicate(f"{path}[{index}]", shown))
            seen.add(identity)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _limits(schema: Schema, value: Any, report: Report, path: str) -> None:
    if schema.enum and value not in schema.enum:
        report.wrong.append(errors.not_supported(path, value, schema.enum))
    if isinstance(value, str):
        _string_limits(schema, value, report, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if schema.minimum is not None and value < schema.minimum:
            report.wrong.append(
                errors.invalid(path, value, f"should be greater than or equal to {_plain(schema.minimum)}")
            )
        if schema.maximum is not None and value > schema.maximum:
            report.wrong.append(
                errors.invalid(path, value, f"should be less than or equal to {_plain(schema.maximum)}")
            )


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _string_limits(schema: Schema, value: str, report: Report, path: str) -> None:
    wrong = report.wrong
    if schema.pattern:
        pattern = _compiled(schema.pattern)
        if pattern is not None and not pattern.search(value):
            wrong.append(errors.invalid(path, value, f"should match '{schema.pattern}'"))
    if schema.min_length is not None and len(value) < schema.min_length:
        wrong.append(errors.invalid(path, value, f"should be at least {schema.min_length} chars long"))
    if schema.max_length is not None and len(value) > schema.max_length:
        wrong.append(errors.invalid(path, value, f"may not be longer than {schema.max_length} chars"))
    if schema.format == QUANTITY and not _QUANTITY.fullmatch(value):
        wrong.append(errors.invalid(path, value, "must be a quantity such as 500m, 2 or 64Mi"))
    elif schema.format == TIME and not _TIME.fullmatch(value):
        wrong.append(errors.invalid(path, value, "must be a time such as 2006-01-02T15:04:05Z"))


ANYTHING = Schema(ANY)
"""The schema that accepts every value."""
