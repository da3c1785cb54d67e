"""One write transaction: read, put and delete records; each change takes the next version and goes into the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from podwire.lab.apiserver.storage.facts import Facts, decode, encode

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"

Key = tuple[str, str, str]
"""(resource, namespace, name); *resource* is ``group/plural``, and namespace is empty for cluster-scoped kinds."""

_encode = msgspec.json.Encoder().encode


class Record(NamedTuple):
    """An object as stored."""

    key: Key
    uid: str
    version: int
    facts: Facts
    body: bytes

    def object(self) -> dict[str, Any]:
        """The object, decoded anew: the caller may change it."""
        return msgspec.json.decode(self.body, type=dict[str, Any])


class LogEvent(msgspec.Struct, frozen=True):
    """A committed change. *before* are the facts that the object had, None when it was added."""

    version: int
    resource: str
    namespace: str
    name: str
    uid: str
    type: str
    facts: Facts
    before: Facts | None
    body: bytes

    @property
    def key(self) -> Key:
        """The object that changed."""
        return self.resource, self.namespace, self.name


class Transaction:
    """What an operation may do to the database. Valid in the writer thread, until the operation returns."""

    def __init__(self, connection: sqlite3.Connection, version: int) -> None:
        self._connection = connection
        self.version = version
        self.events: list[LogEvent] = []
        self.discarded = False
        """Set for a dry run: the result is computed, and nothing of it is kept."""

    def get(self, resource: str, namespace: str, name: str) -> Record | None:
        """One record, or None."""
        row = self._connection.execute(
            "SELECT uid, version, facts, body FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
            (resource, namespace, name),
        ).fetchone()
        return None if row is None else Record((resource, namespace, name), row[0], row[1], decode(row[2]), row[3])

    def exists(self, uid: str) -> bool:
        """Whether an object of this uid is stored."""
        return self._connection.execute("SELECT 1 FROM objects WHERE uid = ?", (uid,)).fetchone() is not None

    def key_of(self, uid: str) -> Key | None:
        """The key of the object of this uid, or None."""
        row = self._connection.execute("SELECT resource, namespace, name FROM objects WHERE uid = ?", (uid,)).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def older_than(self, resource: str, moment: str, limit: int) -> list[Key]:
        """Keys of Events that were last seen before *moment* (RFC 3339, whole seconds, UTC)."""
        body = "CAST(body AS TEXT)"
        seen = f"coalesce({body} ->> '$.lastTimestamp', {body} ->> '$.metadata.creationTimestamp')"
        rows = self._connection.execute(
            f"SELECT resource, namespace, name FROM objects WHERE resource = ? AND {seen} < ? LIMIT ?",  # noqa: S608 (a constant)
            (resource, moment, limit),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def keys(self, resource: str | None = None, namespace: str | None = None) -> list[Key]:
        """The keys of a resource (None: all), of a namespace (None: all)."""
        clauses = [("resource", resource), ("namespace", namespace)]
        chosen = [(column, value) for column, value in clauses if value is not None]
        where = " AND ".join(f"{column} = ?" for column, _ in chosen) or "1"
        rows = self._connection.execute(
            f"SELECT resource, namespace, name FROM objects WHERE {where} ORDER BY resource, namespace, name",  # noqa: S608 (only columns are interpolated)
            [value for _, value in chosen],
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def fields(self, resource: str) -> Iterator[dict[str, str]]:
        """The selectable fields of every object of a resource."""
        for (facts,) in self._connection.execute("SELECT facts FROM objects WHERE resource = ?", (resource,)):
            yield decode(facts).fields

    def dependents(self, uid: str) -> list[Key]:
        """The keys of the objects that name *uid* as an owner."""
        rows = self._connection.execute("SELECT resource, namespace, name FROM owners WHERE owner = ?", (uid,))
        return [(row[0], row[1], row[2]) for row in rows]

    def owned(self) -> list[Key]:
        """The keys of all objects that have an owner."""
        rows = self._connection.execute("SELECT DISTINCT resource, namespace, name FROM owners")
        return [(row[0], row[1], row[2]) for row in rows]

    def put(self, key: Key, obj: dict[str, Any], facts: Facts) -> dict[str, Any]:
        """Store *obj* under *key*; it gets its resourceVersion here. Returns it."""
        before = self.get(*key)
        self.version += 1
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self.version)
        body, packed, uid = _encode(obj), encode(facts), meta["uid"]
        if before is None:
            self._connection.execute(
                "INSERT INTO objects(resource, namespace, name, uid, version, facts, body) VALUES (?,?,?,?,?,?,?)",
                (*key, uid, self.version, packed, body),
            )
        else:
            self._connection.execute(
                "UPDATE objects SET version=?, facts=?, body=? WHERE resource=? AND namespace=? AND name=?",
                (self.version, packed, body, *key),
            )
            self._connection.execute("DELETE FROM owners WHERE resource=? AND namespace=? AND name=?", key)
        owners = {owner["uid"] for owner in meta.get("ownerReferences") or ()}
        if owners:
            self._connection.executemany("INSERT INTO owners VALUES (?,?,?,?)", [(owner, *key) for owner in owners])
        self._log(key, uid, ADDED if before is None else MODIFIED, facts, before.facts if before else None, body)
        return obj

    def delete(self, key: Key, obj: dict[str, Any], facts: Facts) -> dict[str, Any]:
        """Remove the record of *key*; *obj* is its last state, which watchers see with the version of the deletion."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._connection.execute("DELETE FROM objects WHERE resource=? AND namespace=? AND name=?", key)
        self._connection.execute("DELETE FROM owners WHERE resource=? AND namespace=? AND name=?", key)
        self._log(key, obj["metadata"]["uid"], DELETED, facts, facts, _encode(obj))
        return obj

    def _log(self, key: Key, uid: str, kind: str, facts: Facts, before: Facts | None, body: bytes) -> None:
        event = LogEvent(self.version, *key, uid, kind, facts, before, body)
        self._connection.execute(
            "INSERT INTO log VALUES (?,?,?,?,?,?,?,?,?)",
            (self.version, *key, uid, kind, encode(facts), encode(before) if before else None, body),
        )
        self.events.append(event)
