"""Decode objects that clients send as protobuf, which typed Go clients do unasked (``kubectl create deployment``, CoreDNS).

Answers are always JSON, which such clients accept as well. Sources: the protobuf encoding, and the envelope of
Kubernetes' ``runtime.Unknown``. Field numbers stand in the notation of each type.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from podwire.lab.apiserver.errors import ApiError, bad_request
from podwire.lab.apiserver.schema.model import (
    ARRAY,
    BOOLEAN,
    INT_OR_STRING,
    INTEGER,
    OBJECT,
    QUANTITY,
    RAW_JSON,
    TIME,
    Schema,
)

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_MAX_DEPTH = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Wire = int | bytes


def decode(data: bytes, schema: Schema) -> dict[str, Any]:
    """The object in *data*, as its JSON would be. ApiError 400 for what is damaged, 415 for fields that have no numbers here."""
    if not data.startswith(_MAGIC):
        raise bad_request("the request body is not Kubernetes protobuf: it does not begin with k8s")
    envelope = dict(_fields(data[len(_MAGIC) :]))
    type_meta, raw = envelope.get(1, b""), envelope.get(2, b"")
    if not isinstance(type_meta, bytes) or not isinstance(raw, bytes) or envelope.get(3):
        raise bad_request("the request body's envelope is damaged, or its content encoded")
    found = _object(raw, schema, "", 0)
    for number, wire in _fields(type_meta):
        name = {1: "apiVersion", 2: "kind"}.get(number)
        if name and wire:
            found[name] = _text(wire)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """The (number, value) pairs of a message."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise bad_request(f"the request body is damaged protobuf: wire type {kind}")
        if position + size > end:
            raise bad_request("the request body is damaged protobuf: it is cut short")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise bad_request("the request body is damaged protobuf: a number is cut short")


def _text(wire: Wire) -> str:
    try:
        return _message(wire).decode()
    except UnicodeDecodeError as error:
        raise bad_request("the request body is damaged protobuf: a string is not UTF-8") from error


def _message(wire: Wire) -> bytes:
    if isinstance(wire, int):
        raise bad_request("the request body is damaged protobuf: a number where a message is expected")
    return wire


def _signed(wire: Wire) -> int:
    if isinstance(wire, bytes):
        raise bad_request("the request body is damaged protobuf: bytes where a number is expected")
    return wire - (1 << 64) if wire >= 1 << 63 else wire


def _object(data: bytes, schema: Schema, path: str, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise bad_request("the request body is nested too deeply")
    found: dict[str, Any] = {}
    for number, wire in _fields(data):
        embedded, name = schema.embeds.get(number), schema.numbers.get(number)
        if embedded is not None:
            found.update(_object(_message(wire), embedded, path, depth + 1))
        elif name is None:
            raise _unknown(f"{path}#{number}")
        else:
            _take(found, name, wire, schema, f"{path}{name}", depth)
    return found


def _unknown(path: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", f"the field {path} cannot be decoded from protobuf here; send JSON")


def _take(found: dict[str, Any], name: str, wire: Wire, schema: Schema, path: str, depth: int) -> None:
    field = schema.properties[name]
    if field.type == ARRAY and field.items is not None:
        found.setdefault(name, []).append(_value(wire, field.items, path, depth))
    elif field.values is not None:
        entry = dict(_fields(_message(wire)))
        value = _value(entry.get(2, b""), field.values, path, depth)
        found.setdefault(name, {})[_text(entry.get(1, b""))] = "" if value is None else value
    else:
        value = _value(wire, field, path, depth)
        if value is not None and (value or name in schema.pointers):
            found[name] = value


def _value(wire: Wire, schema: Schema, path: str, depth: int) -> Any:
    """A value by its schema; None for one that is nothing in JSON."""
    if schema.type == INTEGER:
        return _signed(wire)
    if schema.type == BOOLEAN:
        return bool(wire)
    if schema.format == TIME:
        return _time(_message(wire))
    if schema.format == QUANTITY:
        return _text(dict(_fields(_message(wire))).get(1, b""))
    if schema.format == INT_OR_STRING:
        parts = dict(_fields(_message(wire)))
        return _text(parts.get(3, b"")) if parts.get(1) else _signed(parts.get(2, 0))
    if schema.format == "byte":
        return base64.b64encode(_message(wire)).decode()
    if schema.format == RAW_JSON:
        return _json(dict(_fields(_message(wire))).get(1, b""))
    if schema.type == OBJECT:
        if not schema.numbers and _message(wire):
            raise _unknown(path)
        return _object(_message(wire), schema, f"{path}.", depth + 1)
    return _text(wire)


def _json(wire: Wire) -> Any:
    try:
        return msgspec.json.decode(_message(wire) or b"{}")
    except msgspec.DecodeError as error:
        raise bad_request("the request body is damaged protobuf: a JSON field is not JSON") from error


def _time(data: bytes) -> str | None:
    parts = dict(_fields(data))
    seconds, nanos = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
    if not seconds:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    except (OverflowError, OSError, ValueError) as error:
        raise bad_request("the request body is damaged protobuf: a time is out of range") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if nanos else "%Y-%m-%dT%H:%M:%SZ")
