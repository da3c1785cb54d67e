"""Small kinds: ConfigMap, Secret, Event, Lease."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from podwire.lab.apiserver.errors import Cause, forbidden_field, invalid
from podwire.lab.apiserver.kinds.names import data_key, path_segment
from podwire.lab.apiserver.kinds.strategy import Object, Strategy, at, changed

_EVENT_FIELDS = {
    **{
        f"involvedObject.{field}": f"involvedObject.{field}"
        for field in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    },
    "reason": "reason",
    "reportingComponent": "reportingComponent",
    "source": "source.component",
    "type": "type",
}
_REGARDING = {label.replace("involvedObject", "regarding"): label for label in _EVENT_FIELDS if "." in label}


class StatelessStrategy(Strategy):
    """Kinds without a spec: their changes are not counted."""

    generation = False


class DataStrategy(StatelessStrategy):
    """ConfigMaps and Secrets."""

    selectable = frozenset(("type",))

    def default(self, obj: Object) -> None:
        plain = obj.pop("stringData", None)
        if plain:
            encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
            obj["data"] = {**(obj.get("data") or {}), **encoded}

    def validate(self, obj: Object) -> Iterator[Cause]:
        for field in ("data", "binaryData"):
            for key, value in (obj.get(field) or {}).items():
                if problem := data_key(key):
                    yield invalid(f"{field}[{key}]", key, problem)
                if (field == "binaryData" or obj["kind"] == "Secret") and not _is_base64(value):
                    yield invalid(f"{field}[{key}]", "<hidden>", "must be base64")

    def validate_update(self, obj: Object, old: Object) -> Iterator[Cause]:
        if old.get("immutable"):
            for field in ("data", "binaryData", "immutable"):
                if obj.get(field) != old.get(field):
                    yield forbidden_field(field, "field is immutable when `immutable` is set")
        if changed(obj, old, "type"):
            yield invalid("type", obj.get("type"), "field is immutable")

    def fields(self, obj: Object) -> dict[str, str]:
        return {"type": obj["type"]} if "type" in obj else {}


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        return False
    return True


class EventStrategy(StatelessStrategy):
    """Events, as core/v1 stores them."""

    selectable = frozenset(_EVENT_FIELDS) | frozenset(_REGARDING)

    def name_problem(self, name: str) -> str:
        return path_segment(name)

    def validate(self, obj: Object) -> Iterator[Cause]:
        namespace = at(obj, "involvedObject.namespace", "default")
        if namespace != obj["metadata"].get("namespace"):
            detail = "does not match event.namespace; events on cluster-scoped objects live in 'default'"
            yield invalid("involvedObject.namespace", namespace, detail)

    def fields(self, obj: Object) -> dict[str, str]:
        values = {label: at(obj, path) for label, path in _EVENT_FIELDS.items()}
        found = {label: str(value) for label, value in values.items() if value}
        found.update({new: found[old] for new, old in _REGARDING.items() if old in found})
        return found


_EVENT_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_NAMES_BACK = {new: old for old, new in _EVENT_NAMES.items()}


def event_from_v1(obj: Object) -> Object:
    """An ``events.k8s.io/v1`` Event as ``core/v1`` stores it."""
    return {**{_EVENT_NAMES_BACK.get(key, key): value for key, value in obj.items()}, "apiVersion": "v1"}


def event_to_v1(obj: Object) -> Object:
    """A stored Event as ``events.k8s.io/v1`` shows it."""
    return {**{_EVENT_NAMES.get(key, key): value for key, value in obj.items()}, "apiVersion": "events.k8s.io/v1"}
