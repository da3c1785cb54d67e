"""The columns that ``kubectl get`` shows for kinds without ones of their own, and what columns are made of.

``kubectl`` asks the server for a Table, so the columns of each kind live here and in :mod:`.printing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; *wide* ones are shown with ``-o wide`` only."""

    name: str
    type: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""

    def definition(self) -> dict[str, Any]:
        """A ``TableColumnDefinition``."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": 1 if self.wide else 0,
        }


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a kind, and how to fill them; *cells* gets the object and the present time."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, datetime], list[Any]]


def age(timestamp: str | None, now: datetime) -> str:
    """The time since an RFC 3339 timestamp, as kubectl writes it: ``45s``, ``2m10s``, ``3h``, ``5d``."""
    if not timestamp:
        return "<unknown>"
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return "<invalid>"
    return duration((now - then.replace(tzinfo=then.tzinfo or UTC)).total_seconds())


def duration(seconds: float) -> str:
    """Seconds in at most two units, coarser as they grow (k8s.io/apimachinery, ``duration.HumanDuration``)."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _two(days // 365, "y", days % 365, "d") if days < 8 * 365 else f"{days // 365}y"


def _two(large: int, unit: str, small: int, part: str) -> str:
    return f"{large}{unit}{small}{part}" if small else f"{large}{unit}"


def created(obj: Object, now: datetime) -> str:
    """The object's age."""
    return age(obj["metadata"].get("creationTimestamp"), now)


NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="Time since the object was created.")


def _name_and_age(obj: Object, now: datetime) -> list[Any]:
    return [obj["metadata"]["name"], created(obj, now)]


NAME_AND_AGE = Columns((NAME, AGE), _name_and_age)
