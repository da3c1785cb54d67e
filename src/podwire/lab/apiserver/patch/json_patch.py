"""JSON patch (RFC 6902), with JSON pointers (RFC 6901)."""

from __future__ import annotations

import copy
from typing import Any

from podwire.lab.apiserver.errors import ApiError, bad_request

MAX_OPERATIONS = 10_000


def json_patch(target: Any, operations: Any) -> Any:
    """*target* changed by a list of *operations*, all or none. ApiError 400 for bad ones, 422 for those that do not fit."""
    if not isinstance(operations, list) or len(operations) > MAX_OPERATIONS:
        raise bad_request(f"a JSON patch is a list of at most {MAX_OPERATIONS} operations")
    document = copy.deepcopy(target)
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request(f"operation {number} of the JSON patch must be an object with an op and a path")
        document = _apply(document, operation, number)
    return document


def _apply(document: Any, operation: dict[str, Any], number: int) -> Any:
    name, path = operation.get("op"), _pointer(operation["path"])
    if name in ("add", "replace", "test") and "value" not in operation:
        raise bad_request(f"operation {number} of the JSON patch, {name} {operation['path']}, has no value")
    try:
        match name:
            case "add":
                return _add(document, path, operation["value"])
            case "remove":
                return _remove(document, path)[0]
            case "replace":
                _get(document, path)
                return _replace(document, path, operation["value"])
            case "test":
                if _get(document, path) != operation["value"]:
                    raise LookupError("the value is another")
                return document
            case "move" | "copy":
                source = _pointer(str(operation.get("from", "")))
                value = copy.deepcopy(_get(document, source))
                if name == "move":
                    if path[: len(source)] == source and path != source:
                        raise LookupError("a value cannot be moved into itself")
                    document = _remove(document, source)[0]
                return _add(document, path, value)
    except (LookupError, TypeError, ValueError) as error:
        message = f"the server rejected our request due to an error in our request: {name} {operation['path']}: {error}"
        raise ApiError(422, "Invalid", message) from error
    raise bad_request(
        f"operation {number} of the JSON patch: {name!r} is none of add, remove, replace, move, copy, test"
    )


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    if not text.startswith("/"):
        raise bad_request(f"{text!r} is not a JSON pointer: it must begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(items: list[Any], part: str, *, end: bool = False) -> int:
    if part == "-" and end:
        return len(items)
    if not part.isdecimal() or (len(part) > 1 and part[0] == "0"):
        raise LookupError(f"{part!r} is not an index")
    index = int(part)
    if index >= len(items) + end:
        raise LookupError(f"index {index} is beyond the list's {len(items)} elements")
    return index


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(document, part)]
        elif isinstance(document, dict):
            if part not in document:
                raise LookupError(f"there is no {part!r}")
            document = document[part]
        else:
            raise LookupError(f"{part!r} is below a plain value")
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(_index(parent, path[-1], end=True), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise LookupError(f"{path[-1]!r} is below a plain value")
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    parent[_index(parent, path[-1]) if isinstance(parent, list) else path[-1]] = value
    return document


def _remove(document: Any, path: list[str]) -> tuple[Any, Any]:
    if not path:
        raise LookupError("the whole document cannot be removed")
    value, parent = _get(document, path), _get(document, path[:-1])
    del parent[_index(parent, path[-1]) if isinstance(parent, list) else path[-1]]
    return document, value
