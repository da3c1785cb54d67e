"""Times as the Kubernetes API writes them: RFC 3339 in UTC, whole seconds (metav1.Time) or microseconds (MicroTime)."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """metav1.Time."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(seconds: float) -> str:
    """metav1.MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str) -> float:
    """Seconds since the epoch of either form; ValueError for anything else."""
    return datetime.fromisoformat(text).timestamp()
