"""The history keeps 24 hours, breaks its curves where nothing was measured, and loses no peak when it thins out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuState, GpuType, Inventory
from launchdeck.monitor.history import History

GIB = 2**30
DAY_S = 86_400
START_S = 1_700_000_000.0
GPU = Gpu(0, "GPU-a", "0000:01:00.0", "RTX 4090", GpuType.NVIDIA, 24 * GIB)
CPU = Gpu(0, "cpu", None, "CPU", GpuType.CPU, 64 * GIB)


def inventory(at_s: float, percent: int | None = 50, *, used_bytes: int | None = GIB, **sample) -> Inventory:
    gpu = GpuSample(at_s, used_memory_bytes=used_bytes, utilization_percent=percent, **sample)
    cpu = GpuSample(at_s, used_memory_bytes=8 * GIB, utilization_percent=7)
    return Inventory((GpuReading(GPU, gpu),), GpuReading(CPU, cpu), "Test", at_s)


def filled(values: list[int | None], interval_s: float = 5.0) -> History:
    history = History(interval_s)
    for place, value in enumerate(values):
        history.append(inventory(START_S + place * interval_s, value))
    return history


def all_of(history: History, metric: str = "utilization_percent", uuid: str = GPU.uuid, buckets: int = 100_000):
    return history.series(uuid, metric, START_S - DAY_S, START_S + 2 * DAY_S, buckets)


def test_every_metric_of_every_device():
    history = History(5.0)
    history.append(inventory(START_S, 42, used_bytes=3 * GIB // 2, temperature_c=61, power_watts=210.5))
    values = {
        metric: all_of(history, metric)[1].tolist()
        for metric in ("vram_gib", "utilization_percent", "temperature_c", "power_watts")
    }
    assert values == {
        "vram_gib": [1.5],
        "utilization_percent": [42],
        "temperature_c": [61],
        "power_watts": [210.5],
    }
    assert all_of(history, "vram_gib", CPU.uuid)[1].tolist() == [8]


def test_only_what_lies_in_the_asked_time():
    history = filled([0, 1, 2, 3, 4])
    times, values = history.series(GPU.uuid, "utilization_percent", START_S + 5, START_S + 15, 100)
    assert times.tolist() == [START_S + 5, START_S + 10]
    assert values.tolist() == [1, 2]


def test_an_unknown_device_has_an_empty_series():
    times, values = all_of(filled([1]), uuid="GPU-other")
    assert len(times) == len(values) == 0


def test_an_unknown_metric_is_an_error():
    with pytest.raises(KeyError, match="fan"):
        all_of(filled([1]), "fan")


def test_a_missing_reading_is_a_gap_and_not_zero():
    _, values = all_of(filled([10, None, 30]))
    assert values[0] == 10
    assert math.isnan(values[1])
    assert values[2] == 30


def test_a_lost_gpu_is_a_gap():
    history = History(5.0)
    history.append(inventory(START_S, 10))
    history.append(inventory(START_S + 5, None, used_bytes=None, state=GpuState.LOST))
    assert np.isnan(all_of(history, "vram_gib")[1]).tolist() == [False, True]


@pytest.mark.parametrize(("pause_s", "breaks"), [(12.0, False), (13.0, True)])
def test_a_pause_of_more_than_two_and_a_half_intervals_breaks_the_line(pause_s: float, breaks: bool):
    history = filled([10])
    history.append(inventory(START_S + pause_s, 20))
    assert bool(np.isnan(all_of(history)[1]).any()) is breaks


def test_a_slower_interval_from_now_on_is_no_gap():
    history = filled([10, 11])
    history.set_interval_s(60.0)
    history.append(inventory(START_S + 65, 12))
    assert all_of(history)[1].tolist() == [10, 11, 12]


@pytest.mark.parametrize(("interval_s", "most"), [(5.0, 17_280), (1.0, 86_400), (0.25, 86_400)])
def test_the_oldest_points_give_way(interval_s: float, most: int):
    history = History(interval_s)
    for place in range(most + 10):
        history.append(inventory(START_S + place * interval_s, place % 101))
    times, values = all_of(history)
    assert len(times) == most
    assert times[0] == START_S + 10 * interval_s
    assert values[:3].tolist() == [10, 11, 12]
    assert (np.diff(times) == interval_s).all()


def test_a_shorter_interval_makes_room_and_keeps_what_is_there():
    history = History(60.0)
    for place in range(1_500):  # more than the 1,440 of a day: the ring has wrapped
        history.append(inventory(START_S + place * 60, place % 101))
    history.set_interval_s(1.0)
    for second in range(1, 1_001):
        history.append(inventory(START_S + 1_499 * 60 + second, 99))
    times, values = all_of(history)
    assert len(times) == 2_440
    assert times[0] == START_S + 60 * 60
    assert values[0] == 60
    assert (np.diff(times) > 0).all()


def test_a_clock_set_back_forgets_what_has_not_happened_yet():
    history = filled([1, 2, 3, 4])
    history.append(inventory(START_S + 7, 9))
    times, values = all_of(history)
    assert times.tolist() == [START_S, START_S + 5, START_S + 7]
    assert values.tolist() == [1, 2, 9]


def test_thinning_out_keeps_every_peak():
    values: list[int | None] = [50] * 17_280
    values[777], values[12_345] = 100, 0
    history = filled(values)
    times, thin = history.series(GPU.uuid, "utilization_percent", START_S, START_S + DAY_S, 720)
    assert len(times) <= 2 * 720 + 2
    assert thin.max() == 100
    assert thin.min() == 0
    assert (np.diff(times) >= 0).all()
    assert abs(times[thin.argmax()] - (START_S + 777 * 5)) < DAY_S / 720


def test_thinning_out_keeps_the_shape_while_the_window_moves():
    history = filled([place * 37 % 101 for place in range(2_000)])
    first = history.series(GPU.uuid, "utilization_percent", START_S, START_S + 9_000, 90)
    later = history.series(GPU.uuid, "utilization_percent", START_S + 35, START_S + 9_035, 90)
    inside = first[0] >= START_S + 200
    assert later[1][later[0] >= START_S + 200][: inside.sum() - 2].tolist() == first[1][inside][:-2].tolist()


def test_thinning_out_keeps_gaps_that_reach_over_a_bucket():
    history = filled([50] * 3_000)
    history.append(inventory(START_S + 3_000 * 5 + 7_200, 50))
    times, values = history.series(GPU.uuid, "utilization_percent", START_S, START_S + 30_000, 100)
    assert len(times) < 3_000
    gaps = np.flatnonzero(np.isnan(values))
    assert len(gaps) == 1
    assert times[gaps[0] + 1] - times[gaps[0]] > 7_000


@pytest.mark.parametrize("missing", [1_000, 1_003])  # the first and the last of the four points of a bucket
def test_thinning_out_keeps_a_missing_reading_at_the_edge_of_a_bucket(missing: int):
    values: list[int | None] = [50] * 3_000
    values[missing] = None
    _, thin = filled(values).series(GPU.uuid, "utilization_percent", START_S, START_S + 15_000, 750)
    assert len(thin) < 1_510
    assert np.isnan(thin).sum() == 1


def test_thinning_out_a_curve_that_was_never_measurable():
    _, values = filled([None] * 3_000).series(GPU.uuid, "utilization_percent", START_S, START_S + 15_000, 100)
    assert len(values)
    assert np.isnan(values).all()
