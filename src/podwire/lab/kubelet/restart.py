"""When a container is started again: its pod's restartPolicy, and the crash-loop back-off. Pure.

As the kubelet does: the delay starts at *base*, doubles with each restart up to *longest*, and begins anew after the
container has run for a while (there ten minutes; here ten times the longest delay).
"""

from __future__ import annotations

import msgspec

STEADY_FACTOR = 10


class Backoff(msgspec.Struct):
    """The back-off of one container, or of anything else that is tried again. Times are seconds."""

    base: float
    longest: float
    delay: float = 0.0
    not_before: float = 0.0

    def failed(self, now: float, ran_for: float = 0.0) -> None:
        """It failed, or ended, at *now* after it had run for *ran_for*."""
        if ran_for >= self.longest * STEADY_FACTOR:
            self.delay = 0.0
        self.delay = min(self.delay * 2 or self.base, self.longest)
        self.not_before = now + self.delay

    def succeeded(self) -> None:
        """Forget past failures."""
        self.delay = self.not_before = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next attempt; 0 when it is due."""
        return max(0.0, self.not_before - now)


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that ended with *exit_code* is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
