"""Forecast: a trend is told, noise is not."""

from __future__ import annotations

import random

import pytest

from podwire.ipam.forecast import Forecast, History, Sample, forecast


def line(rate_per_hour: float, count: int = 60, start: int = 10, noise: float = 0.0) -> list[Sample]:
    rng = random.Random(7)
    return [
        Sample(60.0 * minute, round(start + rate_per_hour * minute / 60 + rng.uniform(-noise, noise)))
        for minute in range(count)
    ]


def test_steady_growth_is_extrapolated() -> None:
    samples = line(30, count=61)
    found = forecast(samples, capacity=253)
    assert found is not None
    assert found.rate * 3600 == pytest.approx(30, rel=0.05)
    assert found.seconds / 3600 == pytest.approx((253 - samples[-1].used) / 30, rel=0.06)
    assert str(found).startswith("full in about 7 h at the current rate (30.")


@pytest.mark.parametrize("rate", [0, -20])
def test_no_growth_no_forecast(rate: float) -> None:
    assert forecast(line(rate, start=100), 253) is None


def test_noise_is_not_a_trend() -> None:
    assert forecast(line(0.0, start=100, noise=20), 253) is None


def test_a_trend_shows_through_noise() -> None:
    found = forecast(line(60, noise=5), 253)
    assert found is not None and found.rate * 3600 == pytest.approx(60, rel=0.15)


@pytest.mark.parametrize("samples", [[], [Sample(0, 1)], line(30, count=4), [Sample(5, used) for used in range(9)]])
def test_too_little_is_known(samples: list[Sample]) -> None:
    assert forecast(samples, 253) is None


def test_a_full_pool_is_full_now() -> None:
    found = forecast(line(60), capacity=69)
    assert found is not None and found.seconds == 0 and str(found) == "full now"


@pytest.mark.parametrize(
    ("seconds", "words"), [(20, "1 min"), (1800, "30 min"), (7200, "2 h"), (47 * 3600, "47 h"), (96 * 3600, "4 days")]
)
def test_the_unit_fits_the_span(seconds: float, words: str) -> None:
    assert f"about {words} at" in str(Forecast(seconds, 0.01))


def test_history_is_thinned_and_bounded() -> None:
    history = History(window=600, interval=60)
    for second in range(3600):
        history.add(float(second), second)
    assert [sample.time for sample in history.samples] == [float(second) for second in range(2940, 3600, 60)]


def test_history_starts_anew_when_the_clock_goes_back() -> None:
    history = History()
    history.add(1000.0, 5)
    history.add(10.0, 6)
    assert history.samples == (Sample(10.0, 6),)
