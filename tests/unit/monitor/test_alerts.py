"""What a row of readings raises: the limits, their hysteresis, and GPUs that are lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.samples import GIB, gpu, inventory
from launchdeck.domain.gpu import GpuReading, GpuState, GpuType
from launchdeck.monitor.alerts import AlertWatch
from launchdeck.settings.schema import Settings

SETTINGS = Settings(vram_alert_percent=90, temperature_alert_c=80)


def card(index: int = 0, **sample: object) -> GpuReading:
    reading = gpu(index, "RTX 4090", GpuType.NVIDIA, 100, 10)
    return replace(reading, sample=replace(reading.sample, **sample))


def raised(readings: list[GpuReading], settings: Settings = SETTINGS) -> list[tuple[str, ...]]:
    """What each of these readings raises."""
    watch = AlertWatch()
    return [tuple(alert.kind for alert in watch.observe(inventory(one), settings).raised) for one in readings]


def active(readings: list[GpuReading], settings: Settings = SETTINGS) -> list[tuple[str, ...]]:
    watch = AlertWatch()
    return [tuple(alert.kind for alert in watch.observe(inventory(one), settings).active) for one in readings]


@pytest.mark.parametrize(
    ("celsius", "wanted"),
    [
        ([79], [0]),
        ([80], [1]),
        ([79, 80, 81, 79, 76, 80], [0, 1, 1, 1, 1, 1]),
        ([80, 75, 80], [1, 1, 1]),
        ([80, 74, 79, 80], [1, 0, 0, 1]),
        ([80, None, 79, None, 74, None], [1, 1, 1, 1, 0, 0]),
        ([None, 90], [0, 1]),
    ],
)
def test_temperature_with_hysteresis(celsius: list[int | None], wanted: list[int]):
    readings = [card(temperature_c=value) for value in celsius]
    assert [len(kinds) for kinds in active(readings)] == wanted
    beginnings = [now > before for before, now in zip([0, *wanted], wanted, strict=False)]
    assert [bool(kinds) for kinds in raised(readings)] == beginnings


@pytest.mark.parametrize(
    ("used_gib", "wanted"),
    [([89, 90, 91, 86, 84, 89], [0, 1, 1, 1, 0, 0]), ([89.4, 89.6], [0, 1]), ([None, 95, None], [0, 1, 1])],
)
def test_memory_with_hysteresis(used_gib: list[float | None], wanted: list[int]):
    readings = [card(used_memory_bytes=None if used is None else int(used * GIB)) for used in used_gib]
    assert [len(kinds) for kinds in active(readings)] == wanted


def test_memory_of_unknown_size_is_never_full():
    reading = card(used_memory_bytes=99 * GIB)
    assert active([replace(reading, gpu=replace(reading.gpu, total_memory_bytes=None))]) == [()]


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        ("active lost active", [0, 0, 0]),
        ("lost lost lost active", [0, 1, 1, 0]),
        ("active stalled lost active lost active", [0, 0, 1, 0, 0, 0]),
        ("asleep asleep", [0, 0]),
    ],
)
def test_a_gpu_is_lost_when_it_does_not_answer_twice(states: str, wanted: list[int]):
    readings = [card(state=GpuState(state), temperature_c=None) for state in states.split()]
    assert [len(kinds) for kinds in active(readings)] == wanted


def test_a_gpu_that_falls_asleep_is_not_hot_any_more():
    hot, asleep = card(temperature_c=99), card(temperature_c=None, state=GpuState.ASLEEP)
    assert active([hot, asleep]) == [("temperature",), ()]


def test_a_limit_of_0_is_none():
    assert active(
        [card(temperature_c=99, used_memory_bytes=100 * GIB)], Settings(vram_alert_percent=0, temperature_alert_c=0)
    ) == [()]


def test_the_defaults():
    assert active([card(temperature_c=89), card(temperature_c=90)], Settings()) == [(), ("temperature",)]
    assert active([card(used_memory_bytes=94 * GIB), card(used_memory_bytes=95 * GIB)], Settings()) == [(), ("vram",)]


def test_several_at_once_and_each_gpu_by_itself():
    watch = AlertWatch()
    cool, hot = card(0), card(1, temperature_c=95, used_memory_bytes=97 * GIB)
    news = watch.observe(inventory(cool, hot), SETTINGS)
    assert [(alert.gpu.index, alert.kind, alert.value, alert.limit) for alert in news.raised] == [
        (1, "vram", 97, 90),
        (1, "temperature", 95, 80),
    ]
    assert watch.observe(inventory(replace(cool, sample=hot.sample), hot), SETTINGS).raised[0].gpu.index == 0
    assert watch.observe(inventory(), SETTINGS).active == ()
