"""When will a pool be full? A straight line through the recent past, and silence where the past shows no trend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

LEAST_SAMPLES = 5
LEAST_CONFIDENCE = 3.0
"""The slope must be this many times its own standard error; below that it is noise, and no forecast is made."""


class Sample(NamedTuple):
    """Addresses in use at a time (seconds)."""

    time: float
    used: int


class History:
    """Samples of the recent past, at most one per *interval* seconds and none older than *window* seconds."""

    def __init__(self, window: float = 6 * 3600, interval: float = 60) -> None:
        """The defaults keep 360 samples, six hours."""
        self._window = window
        self._interval = interval
        self._samples: list[Sample] = []

    def add(self, now: float, used: int) -> None:
        """Note that *used* addresses are in use at *now*; after the clock was set back, history starts anew."""
        if self._samples and now < self._samples[-1].time:
            self._samples.clear()
        if self._samples and now - self._samples[-1].time < self._interval:
            return
        self._samples = [sample for sample in self._samples if now - sample.time <= self._window]
        self._samples.append(Sample(now, used))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Oldest first."""
        return tuple(self._samples)


class Forecast(NamedTuple):
    """*seconds* from the last sample until the pool is full, at *rate* addresses per second."""

    seconds: float
    rate: float

    def __str__(self) -> str:
        if self.seconds <= 0:
            return "full now"
        hours = self.seconds / 3600
        if hours < 1:
            span = f"{max(1, round(self.seconds / 60))} min"
        elif hours < 48:
            span = f"{round(hours)} h"
        else:
            span = f"{round(hours / 24)} days"
        return f"full in about {span} at the current rate ({self.rate * 3600:.1f} addresses an hour)"


def forecast(samples: Sequence[Sample], capacity: int) -> Forecast | None:
    """When *capacity* addresses will be in use; None when use does not grow, or too little is known to say.

    A least-squares line gives the rate; it counts from the last sample, not from the line, so that a full pool is
    never called half empty.
    """
    if not samples:
        return None
    left = capacity - samples[-1].used
    count = len(samples)
    if count < LEAST_SAMPLES:
        return None
    mean_time = sum(sample.time for sample in samples) / count
    mean_used = sum(sample.used for sample in samples) / count
    spread = sum((sample.time - mean_time) ** 2 for sample in samples)
    if spread == 0:
        return None
    rate = sum((sample.time - mean_time) * (sample.used - mean_used) for sample in samples) / spread
    residual = sum((sample.used - mean_used - rate * (sample.time - mean_time)) ** 2 for sample in samples)
    error = math.sqrt(residual / (count - 2) / spread)
    if rate <= 0 or rate < LEAST_CONFIDENCE * error:
        return None
    return Forecast(max(0.0, left / rate), rate)
