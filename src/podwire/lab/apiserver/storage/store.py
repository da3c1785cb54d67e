"""Objects and the event log in SQLite (WAL), one writer thread, readers with snapshots of their own.

The resourceVersion of all kinds is one counter: the highest version in the log. The log keeps the last ``log_limit``
changes and never loses its newest, so a server that was killed goes on where it stood. ``synchronous=OFF``: the state
lives on a tmpfs and must outlive the process, not the machine.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.storage.facts import Selection, decode
from podwire.lab.apiserver.storage.transaction import ADDED, DELETED, MODIFIED, Key, LogEvent, Record, Transaction
from podwire.model.errors import StoreError, StoreTooNew

__all__ = ["ADDED", "DELETED", "MODIFIED", "LogEvent", "Page", "Record", "Store", "Transaction"]

T = TypeVar("T")
SCHEMA_VERSION = 1
LOG_LIMIT = 10_000
_TRIM_EVERY = 500
_CHUNK = 200

_TABLES = """
CREATE TABLE objects(resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE,
                     version INTEGER NOT NULL, facts BLOB NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX by_name ON objects(resource, namespace, name);
CREATE TABLE owners(owner TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
                    PRIMARY KEY(owner, resource, namespace, name)) WITHOUT ROWID;
CREATE INDEX owned ON owners(resource, namespace, name);
CREATE TABLE log(version INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
                 uid TEXT NOT NULL, type TEXT NOT NULL, facts BLOB NOT NULL, before BLOB, body BLOB NOT NULL);
"""


class Page(msgspec.Struct, frozen=True):
    """Part of a list: the *version* that it is of, JSON *bodies*, and the (namespace, name) to go on after, if any."""

    version: int
    bodies: list[bytes]
    after: tuple[str, str] | None
    remaining: int | None


class Store:
    """The database of one API server. *publish* gets each transaction's events, in order, on the event loop."""

    def __init__(self, path: Path, publish: Callable[[list[LogEvent]], None], *, log_limit: int = LOG_LIMIT) -> None:
        self._path = path
        self._publish = publish
        self._log_limit = log_limit
        self._loop = asyncio.get_running_loop()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._connection = self._open()
        self._version = _scalar(self._connection, "SELECT coalesce(max(version), 0) FROM log")
        self._untrimmed = 0

    @property
    def version(self) -> int:
        """The newest committed version, as the writer sees it."""
        return self._version

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "busy_timeout=5000", "cache_size=-2000"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        found = _scalar(connection, "PRAGMA user_version")
        if found > SCHEMA_VERSION:
            connection.close()
            raise StoreTooNew(
                f"{self._path} has schema {found} and this API server knows {SCHEMA_VERSION}",
                remedy="run the newer podwire, or take the lab down and up again",
            )
        if found == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        return connection

    async def close(self) -> None:
        """Finish what is under way and close every connection."""
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in (*self._idle, self._connection):
            connection.close()
        self._idle.clear()

    # Writing

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run *operation* as one transaction in the writer thread; its events are published before this returns."""
        return await self._loop.run_in_executor(self._writer, self._transact, operation)

    def _transact(self, operation: Callable[[Transaction], T]) -> T:
        transaction = Transaction(self._connection, self._version)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = operation(transaction)
            keep = transaction.events and not transaction.discarded
            self._connection.execute("COMMIT" if keep else "ROLLBACK")
        except sqlite3.Error as error:
            self._rollback()
            raise StoreError(f"{self._path}: {error}", remedy="is the disk full?") from error
        except BaseException:
            self._rollback()
            raise
        if keep:
            self._version = transaction.version
            self._loop.call_soon_threadsafe(self._publish, transaction.events)
            self._trim(len(transaction.events))
        return result

    def on_loop(self, call: Callable[[T], None], argument: T) -> None:
        """Call back on the event loop, from inside a transaction."""
        self._loop.call_soon_threadsafe(call, argument)

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _trim(self, written: int) -> None:
        self._untrimmed += written
        if self._untrimmed >= min(_TRIM_EVERY, self._log_limit):
            self._untrimmed = 0
            self._connection.execute("DELETE FROM log WHERE version <= ?", (self._version - self._log_limit,))

    # Reading

    def _borrow(self) -> sqlite3.Connection:
        """A connection with a read transaction begun; its snapshot is taken by its first query."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        connection.execute("BEGIN")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        with self._lock:
            self._idle.append(connection)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = self._borrow()
        try:
            yield connection
        finally:
            self._give_back(connection)

    async def read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run *operation* on a consistent snapshot, in a reader thread."""

        def run() -> T:
            with self._reading() as connection:
                return operation(connection)

        return await self._loop.run_in_executor(self._readers, run)

    async def keys(self, resource: str, selection: Selection) -> list[Key]:
        """The keys of what is chosen."""
        page = await self.page(resource, selection)
        found = [msgspec.json.decode(body, type=_Named).metadata for body in page.bodies]
        return [(resource, meta.namespace, meta.name) for meta in found]

    async def get(self, resource: str, namespace: str, name: str) -> Record | None:
        """One object, or None."""
        return await self.read(lambda connection: Transaction(connection, 0).get(resource, namespace, name))

    async def page(
        self, resource: str, selection: Selection, *, limit: int = 0, after: tuple[str, str] | None = None
    ) -> Page:
        """A page of at most *limit* objects (0: all), in the order of (namespace, name)."""
        return await self.read(lambda connection: _page(connection, resource, selection, limit, after))

    @asynccontextmanager
    async def stream(
        self, resource: str, selection: Selection
    ) -> AsyncIterator[tuple[int, AsyncIterator[list[bytes]]]]:
        """The version of a snapshot, and what is chosen in it in blocks, none empty: memory does not grow with the list."""
        run = self._loop.run_in_executor
        connection = await run(self._readers, self._borrow)
        try:
            version, cursor = await run(self._readers, _begin, connection, resource, selection)

            async def blocks() -> AsyncIterator[list[bytes]]:
                while rows := await run(self._readers, cursor.fetchmany, _CHUNK):
                    match = selection.match
                    if found := [body for facts, body in rows if match is None or match(decode(facts))]:
                        yield found

            yield version, blocks()
        finally:
            # Not in the executor: this must also happen when the request is being cancelled.
            self._give_back(connection)

    async def since(self, resource: str, version: int, selection: Selection) -> tuple[int, list[LogEvent]]:
        """The events after *version* of one resource, and the version up to which that is all.

        ApiError 410 when the log begins later than *version*, or has not come so far.
        """
        return await self.read(lambda connection: _since(connection, resource, version, selection))


class _Meta(msgspec.Struct):
    name: str
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Meta


def _scalar(connection: sqlite3.Connection, query: str, parameters: tuple[object, ...] = ()) -> int:
    row = connection.execute(query, parameters).fetchone()
    return int(row[0] or 0)


def _where(resource: str, selection: Selection) -> tuple[str, list[object]]:
    clauses, parameters = ["resource = ?"], [resource]
    for column, value in (("namespace", selection.namespace), ("name", selection.name)):
        if value is not None:
            clauses.append(f"{column} = ?")
            parameters.append(value)
    return " AND ".join(clauses), list(parameters)


def _begin(connection: sqlite3.Connection, resource: str, selection: Selection) -> tuple[int, sqlite3.Cursor]:
    version = _scalar(connection, "SELECT max(version) FROM log")
    where, parameters = _where(resource, selection)
    query = f"SELECT facts, body FROM objects WHERE {where} ORDER BY namespace, name"  # noqa: S608 (only columns are interpolated)
    return version, connection.execute(query, parameters)


def _page(
    connection: sqlite3.Connection, resource: str, selection: Selection, limit: int, after: tuple[str, str] | None
) -> Page:
    version = _scalar(connection, "SELECT max(version) FROM log")
    where, parameters = _where(resource, selection)
    counted = where, tuple(parameters)
    if after is not None:
        where += " AND (namespace, name) > (?, ?)"
        parameters.extend(after)
    query = f"SELECT namespace, name, facts, body FROM objects WHERE {where} ORDER BY namespace, name"  # noqa: S608 (only columns are interpolated)
    match, last, more = selection.match, ("", ""), False
    bodies: list[bytes] = []
    with closing(connection.execute(query, parameters)) as cursor:
        cursor.arraysize = _CHUNK
        for namespace, name, facts, body in cursor:
            if match is not None and not match(decode(facts)):
                continue
            if limit and len(bodies) == limit:
                more = True
                break
            bodies.append(body)
            last = (namespace, name)
    if not more:
        return Page(version, bodies, None, None)
    remaining = None
    if match is None:
        rest = (*counted[1], *last)
        remaining = _scalar(
            connection,
            f"SELECT count(*) FROM objects WHERE {counted[0]} AND (namespace, name) > (?, ?)",  # noqa: S608
            rest,
        )
    return Page(version, bodies, last, remaining)


def _since(
    connection: sqlite3.Connection, resource: str, version: int, selection: Selection
) -> tuple[int, list[LogEvent]]:
    first = _scalar(connection, "SELECT min(version) FROM log")
    last = _scalar(connection, "SELECT max(version) FROM log")
    if version < first - 1:
        raise errors.expired(f"too old resource version: {version} ({first})")
    if version > last:
        raise errors.expired(f"too large resource version: {version}, current: {last}; the server's state is new")
    where, parameters = _where(resource, selection)
    rows = connection.execute(
        f"SELECT version, resource, namespace, name, uid, type, facts, before, body FROM log"  # noqa: S608
        f" WHERE {where} AND version > ? ORDER BY version",
        (*parameters, version),
    )
    return last, [
        LogEvent(number, kind, namespace, name, uid, change, decode(facts), decode(before) if before else None, body)
        for number, kind, namespace, name, uid, change, facts, before, body in rows
    ]
