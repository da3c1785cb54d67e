"""Events are kept for an hour after they were last seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from podwire.lab.apiserver.kinds.table import EVENTS
from podwire.lab.apiserver.rest.writes import timestamp
from podwire.lab.apiserver.storage.store import Store
from podwire.lab.apiserver.storage.transaction import Transaction

LIFETIME = timedelta(hours=1)
_EVERY_SECONDS = 60.0
_BATCH = 500


async def expire_events(store: Store, clock: Callable[[], datetime]) -> int:
    """Delete Events that are too old; returns how many."""
    oldest = timestamp(clock() - LIFETIME)

    def operation(transaction: Transaction) -> int:
        keys = transaction.older_than(EVENTS, oldest, _BATCH)
        for key in keys:
            record = transaction.get(*key)
            if record is not None:
                transaction.delete(key, record.object(), record.facts)
        return len(keys)

    return await store.write(operation)


async def keep_events_young(store: Store, clock: Callable[[], datetime]) -> None:
    """Expire Events until cancelled."""
    while True:
        while await expire_events(store, clock) == _BATCH:
            pass
        await asyncio.sleep(_EVERY_SECONDS)
