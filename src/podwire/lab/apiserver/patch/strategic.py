"""Strategic merge patch: a merge patch that knows which lists are keyed.

Source: Kubernetes community, "Strategic Merge Patch"; directives ``$patch``, ``$retainKeys``,
``$deleteFromPrimitiveList`` and ``$setElementOrder``. Which lists are merged, and by which key, comes from the schema.
"""

from __future__ import annotations

import copy
from typing import Any

from podwire.lab.apiserver.errors import bad_request
from podwire.lab.apiserver.schema.check import ANYTHING
from podwire.lab.apiserver.schema.model import Schema

_DIRECTIVE, _RETAIN = "$patch", "$retainKeys"
_DELETE_PRIMITIVE, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def strategic_merge(target: Any, patch: Any, schema: Schema) -> Any:
    """*target* changed by *patch*. Neither argument is changed; ApiError 400 for a directive that makes no sense."""
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch is a JSON object")
    return _merge_object(copy.deepcopy(target), patch, schema)


def _merge_object(target: Any, patch: dict[str, Any], schema: Schema) -> Any:
    result = target if isinstance(target, dict) else {}
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return _without_directives({key: value for key, value in patch.items() if key != _DIRECTIVE})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"{_DIRECTIVE}: {directive!r} is none of replace, merge, delete")
    if _RETAIN in patch:
        kept = patch[_RETAIN]
        if not isinstance(kept, list):
            raise bad_request(f"{_RETAIN} must be a list of keys")
        result = {key: value for key, value in result.items() if key in kept}
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVE):
            _delete_primitives(result, key.removeprefix(_DELETE_PRIMITIVE), value)
        elif key in (_DIRECTIVE, _RETAIN) or key.startswith(_ORDER):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            child = schema.properties.get(key) or schema.values or ANYTHING
            result[key] = _merge_value(result.get(key), value, child)
    for key, order in patch.items():
        if key.startswith(_ORDER):
            _reorder(result, key.removeprefix(_ORDER), order, schema)
    return result


def _merge_value(target: Any, value: Any, schema: Schema) -> Any:
    if isinstance(value, dict):
        if schema.atomic:
            return _without_directives(value)
        return _merge_object(target, value, schema)
    if isinstance(value, list):
        if schema.merge_key:
            return _merge_list(target if isinstance(target, list) else [], value, schema)
        if schema.is_set and isinstance(target, list):
            return [*target, *(item for item in value if item not in target)]
        return _without_directives(value)
    return value


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_directives(item)
            for key, item in value.items()
            if item is not None and not key.startswith(("$patch", "$retainKeys", "$setElementOrder/", "$deleteFrom"))
        }
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    return value


def _merge_list(target: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    key, items = schema.merge_key, schema.items or ANYTHING
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" and key not in item for item in patch):
        return [_without_directives(item) for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)]
    result = list(target)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item!r} does not contain declared merge key: {key}")
        found = next((n for n, old in enumerate(result) if isinstance(old, dict) and old.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            result = [old for old in result if not (isinstance(old, dict) and old.get(key) == item[key])]
        elif found is None:
            result.append(_merge_object({}, item, items))
        else:
            result[found] = _merge_object(result[found], item, items)
    return result


def _delete_primitives(result: dict[str, Any], field: str, values: Any) -> None:
    if isinstance(values, list) and isinstance(result.get(field), list):
        result[field] = [item for item in result[field] if item not in values]


def _reorder(result: dict[str, Any], field: str, order: Any, schema: Schema) -> None:
    """Put the elements that the patch names into its order; elements that it does not know keep their neighbours."""
    items = result.get(field)
    if not isinstance(items, list) or not isinstance(order, list):
        return
    key = (schema.properties.get(field) or ANYTHING).merge_key

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    ranked = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    following = iter(ranked)
    result[field] = [next(following) if identity(item) in wanted else item for item in items]
