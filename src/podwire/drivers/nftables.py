"""Our nft tables: a static skeleton, loaded whole, and the elements of its named sets, changed one by one.

All of one delta is one transaction. The skeleton is loaded only when it differs, and takes over the elements that the
old one had. How a restarted agent tells whether a skeleton is the one it wants, and untouched: after loading one, a
set named :data:`MARK` is added, which holds nothing and whose comment has two digests: of the text that was loaded,
and of the kernel's listing of it (no element, no counter's value, no handle). A skeleton that no longer equals its
mark was changed by somebody, and is observed as different from any plan.
"""

from __future__ import annotations

import errno
import hashlib
import re
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from podwire.drivers.elements import failure
from podwire.drivers.libnftables import Nft, Refused
from podwire.drivers.nftelements import Families, TableName, named_elements, spelled
from podwire.model.errors import KernelError
from podwire.model.intent import Cause, Failure, Wanted
from podwire.model.kernel import NFT_TABLE, Key, NftElement, NftTable, Value

MARK = "podwire_loaded"
CHANGED = "# changed by somebody: not what was loaded\n"
"""Body of a table that is observed but no longer as it was loaded."""
_FAMILIES: tuple[Families, ...] = ("inet", "bridge", "netdev")
_DIGITS = 32
_CHUNK = 500
_SAFE_ELEMENT = re.compile(r'[0-9A-Za-z_.:/*\-" ]+')


class _Change(msgspec.Struct, frozen=True):
    """A part of a transaction: *value* is put, or dropped where *cause* is None."""

    value: NftTable | NftElement
    cause: Cause | None

    @property
    def key(self) -> Key:
        return self.value.key


class Nftables:
    """The tables named :data:`~podwire.model.kernel.NFT_TABLE` of the namespace of descriptor *home*."""

    def __init__(self, home: int) -> None:
        self._home = home
        self._nft: Nft | None = None
        self._lock = threading.Lock()
        self._bodies: dict[str, str] = {}
        """Texts of skeletons by their digests."""
        self._spellings: dict[Key, str] = {}
        """How a plan spells an element that nft lists otherwise (10.0.0.1/32 for 10.0.0.1)."""

    def observe(self) -> Iterable[Value]:
        """Our tables and their elements."""
        with self._lock:
            nft = self._context()
            found: list[Value] = []
            for family in self._families(nft):
                objects = nft.list(f"list table {family} {NFT_TABLE}")
                found.append(NftTable(family, NFT_TABLE, self._body(objects)))
                for element in named_elements((family, NFT_TABLE), objects):
                    spelling = self._spellings.get(element.key, element.element)
                    found.append(msgspec.structs.replace(element, element=spelling))
            return found

    def _context(self) -> Nft:
        if self._nft is None:
            self._nft = Nft(self._home)
        return self._nft

    def _families(self, nft: Nft) -> list[Families]:
        tables = [found["table"] for found in nft.list("list tables") if "table" in found]
        present = {table["family"] for table in tables if table["name"] == NFT_TABLE}
        return [family for family in _FAMILIES if family in present]

    def _body(self, objects: Sequence[dict[str, Any]]) -> str:
        """The text that was loaded, as far as we know it and it still stands."""
        marks = [found["set"] for found in objects if found.get("set", {}).get("name") == MARK]
        loaded, _, listing = str(marks[0].get("comment", "")).partition(" ") if marks else ("", "", "")
        if not listing or listing != _listing_digest(objects):
            return CHANGED
        return self._bodies.get(loaded, f"# loaded by an earlier process: {loaded}\n")

    def apply(self, drop: Sequence[Value], put: Sequence[Wanted]) -> list[Failure]:
        """Carry out both in one transaction; if it is refused, part by part, to tell what is at fault."""
        if not drop and not put:
            return []
        changes = [_Change(_nft_value(value), None) for value in drop]
        changes += [_Change(_nft_value(element.value), element.cause) for element in put]
        with self._lock:
            failures = [_not_ours(change) for change in changes if not _allowed(change.value)]
            changes = [change for change in changes if _allowed(change.value)]
            try:
                nft = self._context()
                changes = [change for change in changes if not self._stands(nft, change)]
                failures += self._transact(nft, changes)
                self._mark(nft, changes)
            except KernelError as error:
                return failures + [_failed(change, error) for change in changes]
        return failures

    def _stands(self, nft: Nft, change: _Change) -> bool:
        """Whether *change* puts a skeleton that is loaded already."""
        table = change.value
        if not isinstance(table, NftTable) or change.cause is None:
            return False
        self._bodies[_digest(table.body)] = table.body
        if table.family not in self._families(nft):
            return False
        return self._body(nft.list(f"list table {table.family} {table.name}", elements=False)) == table.body

    def _transact(self, nft: Nft, changes: Sequence[_Change]) -> list[Failure]:
        if not changes:
            return []
        try:
            nft.run(self._commands(nft, changes))
        except Refused as error:
            if len(changes) == 1:
                change = changes[0]
                gone = change.cause is None and error.errno == errno.ENOENT
                return [] if gone else [_failed(change, error)]
            tables = [change for change in changes if isinstance(change.value, NftTable)]
            elements = [change for change in changes if isinstance(change.value, NftElement)]
            parts = [tables, elements] if tables and elements else _halves(changes)
            return [failed for part in parts for failed in self._transact(nft, part)]
        for change in changes:
            self._remember(change)
        return []

    def _remember(self, change: _Change) -> None:
        if isinstance(change.value, NftElement):
            listed = spelled(change.value.element)
            if listed != change.value.element:
                key = msgspec.structs.replace(change.value, element=listed).key
                if change.cause is None:
                    self._spellings.pop(key, None)
                else:
                    self._spellings[key] = change.value.element

    def _commands(self, nft: Nft, changes: Sequence[_Change]) -> str:
        """nft's text for *changes*: elements go, tables go or are loaded anew, elements come."""
        tables = [change for change in changes if isinstance(change.value, NftTable)]
        dropped = [change.value for change in changes if change.cause is None and isinstance(change.value, NftElement)]
        added = [
            change.value for change in changes if change.cause is not None and isinstance(change.value, NftElement)
        ]
        renewed = {(change.value.family, change.value.name) for change in tables if isinstance(change.value, NftTable)}
        kept: list[NftElement] = []
        for family, name in renewed:
            if family in self._families(nft):
                kept += named_elements((family, name), nft.list(f"list table {family} {name}"))
        gone = {_listed_key(element) for element in dropped}
        lines = _element_lines("delete", [e for e in dropped if (e.family, e.table) not in renewed])
        for change in tables:
            assert isinstance(change.value, NftTable)
            lines += _table_lines(change.value, put=change.cause is not None)
            if change.cause is not None:
                sets = _declared_sets(change.value.body)
                mine = (change.value.family, change.value.name)
                stay = [e for e in kept if (e.family, e.table) == mine and e.set in sets and e.key not in gone]
                again = {_listed_key(e) for e in added}
                lines += _element_lines("add", [e for e in stay if e.key not in again])
        return "\n".join([*lines, *_element_lines("add", added)]) + "\n"

    def _mark(self, nft: Nft, changes: Sequence[_Change]) -> None:
        """Note on each skeleton that was loaded what it is; without the note it would be loaded again."""
        for change in changes:
            table = change.value
            if isinstance(table, NftTable) and change.cause is not None and table.family in self._families(nft):
                objects = nft.list(f"list table {table.family} {table.name}", elements=False)
                if any(found.get("set", {}).get("name") == MARK for found in objects):
                    continue  # this load was refused: the mark of the one before stands
                comment = f"{_digest(table.body)} {_listing_digest(objects)}"
                nft.run(f'add set {table.family} {table.name} {MARK} {{ type mark; comment "{comment}"; }}\n')

    def close(self) -> None:
        """Free the library's context."""
        with self._lock:
            if self._nft is not None:
                self._nft.close()


def _nft_value(value: Value) -> NftTable | NftElement:
    assert isinstance(value, NftTable | NftElement)
    return value


def _allowed(value: NftTable | NftElement) -> bool:
    if isinstance(value, NftTable):
        return value.name == NFT_TABLE
    return value.table == NFT_TABLE and bool(_SAFE_ELEMENT.fullmatch(value.element)) and value.set.isidentifier()


def _not_ours(change: _Change) -> Failure:
    detail = f"is not an element in nft's syntax, or not of a table named {NFT_TABLE}"
    return failure("put" if change.cause else "drop", change.value, change.cause, errno.EINVAL, detail)


def _failed(change: _Change, error: KernelError) -> Failure:
    return failure("put" if change.cause else "drop", change.value, change.cause, error.errno, error.message)


def _halves(changes: Sequence[_Change]) -> list[Sequence[_Change]]:
    middle = len(changes) // 2
    return [changes[:middle], changes[middle:]]


def _listed_key(element: NftElement) -> Key:
    return msgspec.structs.replace(element, element=spelled(element.element)).key


def _table_lines(table: NftTable, *, put: bool) -> list[str]:
    name = f"{table.family} {table.name}"
    lines = [f"add table {name}", f"delete table {name}"]  # `add` first, so that there is something to delete
    return [*lines, f"table {name} {{", table.body, "}"] if put else lines


def _element_lines(verb: str, elements: Iterable[NftElement]) -> list[str]:
    by_set: dict[tuple[TableName, str], list[str]] = {}
    for element in elements:
        by_set.setdefault(((element.family, element.table), element.set), []).append(element.element)
    return [
        f"{verb} element {family} {table} {name} {{ {', '.join(texts[start : start + _CHUNK])} }}"
        for ((family, table), name), texts in by_set.items()
        for start in range(0, len(texts), _CHUNK)
    ]


def _declared_sets(body: str) -> set[str]:
    return set(re.findall(r"^\s*set\s+(\w+)", body, re.MULTILINE))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:_DIGITS]


def _listing_digest(objects: Sequence[dict[str, Any]]) -> str:
    """A digest of the skeleton as the kernel lists it: no mark, no element of a named set, no handle."""
    listed = []
    for found in objects:
        kind, content = next(iter(found.items()))
        if kind != "table" and content.get("name") != MARK:
            dropped = ("handle", "elem") if kind == "set" else ("handle",)
            listed.append([kind, {name: value for name, value in content.items() if name not in dropped}])
    return hashlib.sha256(msgspec.json.encode(listed, order="sorted")).hexdigest()[:_DIGITS]
