"""When to try again: exponential back-off with jitter. Pure: the randomness comes in as an argument."""

from __future__ import annotations

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """A pause that doubles from *first* to *most* seconds, spread by half of itself, so that many do not come at once."""

    first: float = 1.0
    most: float = 60.0
    failures: int = 0

    def failed(self) -> Backoff:
        """The state after one more failure."""
        return msgspec.structs.replace(self, failures=self.failures + 1)

    def succeeded(self) -> Backoff:
        """The state after a success."""
        return msgspec.structs.replace(self, failures=0)

    def pause(self, random: float) -> float:
        """Seconds to wait before the next attempt, 0.0 without a failure; *random* is in [0, 1)."""
        if not self.failures:
            return 0.0
        whole = min(self.most, self.first * 2.0 ** min(self.failures - 1, 62))
        return whole * (0.75 + random / 2)
