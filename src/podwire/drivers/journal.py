"""The journal's records and their bytes; no I/O.

A journal is a sequence of lines, each a CRC-32 of what follows as eight hexadecimal digits, a space, a JSON object::

    1c291ca3 {"type":"header","schema":1,"boot":"…"}
    5f0a83d1 {"type":"put","attachment":{…}}
    9b2e77c0 {"type":"remove","key":{…},"freed":{"10.244.1.5":1764000000.25}}

The first is the header. The last may lack its end: that is a write which was cut off (**torn**) and never acknowledged.
Any other line that cannot be read is **damage**. Addresses are text here, so that the file's schema is this module's
alone: a change of the model does not change what old files mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from podwire.model.addresses import IPAddress, address, interface
from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.errors import InputError

SCHEMA = 1
"""Raised with every change that an older podwire would misread; :data:`UPGRADES` then gets an entry."""

CHUNK = 500
"""Addresses in one cooling record."""

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a schema to the function that makes a record of it one of the next schema."""


class Header(msgspec.Struct, frozen=True, tag_field="type", tag="header"):
    """*boot* is the kernel's boot id: a file from before a reboot speaks of pods that are no more."""

    schema: int
    boot: str = ""


class StoredAttachment(msgspec.Struct, frozen=True):
    """:class:`~podwire.model.attachment.Attachment` with its addresses as text."""

    key: AttachmentKey
    netns: str
    netns_inode: int
    addresses: tuple[str, ...]
    mac: str
    host_mac: str
    mtu: int
    created_at: float
    pod: PodRef | None
    wiring: Literal["routed"]
    state: Literal["allocated", "ready"]


class Put(msgspec.Struct, frozen=True, tag_field="type", tag="put"):
    """An attachment as it now is."""

    attachment: StoredAttachment


class Remove(msgspec.Struct, frozen=True, tag_field="type", tag="remove"):
    """An attachment is gone, and its addresses were freed at a time (seconds since the epoch)."""

    key: AttachmentKey
    freed: dict[str, float]


class Cooling(msgspec.Struct, frozen=True, tag_field="type", tag="cooling"):
    """Addresses freed earlier; only a compacted journal has these."""

    freed: dict[str, float]


Record: TypeAlias = Put | Remove | Cooling


class Damage(msgspec.Struct, frozen=True):
    """*lines* cannot be read; the first begins at byte *offset*."""

    lines: int
    offset: int


class Journal(msgspec.Struct, frozen=True):
    """A journal as read. *good* is the length in bytes without the torn end.

    *schema* is None when the header itself is damaged; the records are then read as being of our schema.
    """

    schema: int | None
    boot: str
    records: tuple[Record, ...]
    good: int
    torn: int
    damage: Damage | None = None


_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(Record)


def encode(record: Header | Record) -> bytes:
    """The line of *record*."""
    body = _encoder.encode(record)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def put(attachment: Attachment) -> Put:
    """The record of an attachment."""
    fields = {name: getattr(attachment, name) for name in StoredAttachment.__struct_fields__}
    fields["addresses"] = tuple(map(str, attachment.addresses))
    return Put(StoredAttachment(**fields))


def attachment_of(stored: StoredAttachment) -> Attachment:
    """The attachment of a record; InputError when an address in it is none."""
    fields = {name: getattr(stored, name) for name in StoredAttachment.__struct_fields__}
    fields["addresses"] = tuple(interface(text, "addresses") for text in stored.addresses)
    return Attachment(**fields)


def freed_text(freed: Mapping[IPAddress, float]) -> dict[str, float]:
    """*freed* as a record holds it."""
    return {str(addr): when for addr, when in freed.items()}


def compacted(boot: str, attachments: Iterable[Attachment], cooling: Mapping[IPAddress, float]) -> list[bytes]:
    """The lines of the shortest journal that says the same: header, cooling (in chunks), attachments."""
    lines = [encode(Header(SCHEMA, boot))]
    texts = list(freed_text(cooling).items())
    lines += [encode(Cooling(dict(texts[at : at + CHUNK]))) for at in range(0, len(texts), CHUNK)]
    lines += [encode(put(attachment)) for attachment in attachments]
    return lines


def decode(data: bytes) -> Journal:
    """Read a journal. Never raises for what the file holds: damage is part of the answer.

    When the header's schema is newer than ours, the records are not looked at.
    """
    good = data.rfind(b"\n") + 1
    lines = data[:good].split(b"\n")[:-1]
    header = _header(lines[0]) if lines else None
    schema = header.schema if header else None
    boot = header.boot if header else ""
    if schema is not None and schema > SCHEMA:
        return Journal(schema, boot, (), good, len(data) - good)
    records: list[Record] = []
    damaged: list[int] = []
    offset = 0
    for at, line in enumerate(lines):
        if at or not header:
            record = _record(line, SCHEMA if schema is None else schema)
            if record is None:
                damaged.append(offset)
            else:
                records.append(record)
        offset += len(line) + 1
    damage = Damage(len(damaged), damaged[0]) if damaged else None
    if header is None and damage is None:
        damage = Damage(1, 0)
    return Journal(schema, boot, tuple(records), good, len(data) - good, damage)


def _body(line: bytes) -> bytes | None:
    """What the line carries, if its checksum is right."""
    body = line[9:]
    return body if line[:9] == b"%08x " % zlib.crc32(body) else None


def _header(line: bytes) -> Header | None:
    body = _body(line)
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=Header)
    except msgspec.MsgspecError:
        return None


def _record(line: bytes, schema: int) -> Record | None:
    body = _body(line)
    if body is None:
        return None
    record: Record
    try:
        if schema == SCHEMA:
            record = _records.decode(body)
        else:
            raw = msgspec.json.decode(body, type=dict[str, Any])
            for step in range(schema, SCHEMA):
                raw = UPGRADES[step](raw)
            record = msgspec.convert(raw, Record)
        _check(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, InputError, KeyError):
        return None
    return record


def _check(record: Record) -> None:
    """Raise InputError where text is no address: later there is nobody left to tell."""
    if isinstance(record, Put):
        attachment_of(record.attachment)
    else:
        for text in record.freed:
            address(text, "freed")
