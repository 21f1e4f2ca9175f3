"""What has to hold however many sources know whichever of a machine's GPUs, and whatever each of them can tell."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.detector import Detector
from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuState, GpuType
from launchdeck.hardware.cpu import CPUDetector
from launchdeck.hardware.unified import UnifiedGPUDetector

METRICS = ("used_memory_bytes", "free_memory_bytes", "utilization_percent", "temperature_c", "power_watts")
ADDRESSES = [f"0000:{bus:02x}:00.0" for bus in range(6)]


@dataclass(frozen=True)
class Told:
    """What one source says of one GPU; None: it does not know."""

    address: str
    has_address: bool
    driver: str | None
    integrated: bool
    readings: tuple[int | None, ...]

    @property
    def key(self) -> str:
        return self.address if self.has_address else f"uuid-{self.address}"

    def gpu(self) -> Gpu:
        address = self.address if self.has_address else None
        return Gpu(
            0, f"uuid-{self.address}", address, "card", GpuType.AMD, None, self.driver, integrated=self.integrated
        )


class Source(Detector):
    def __init__(self, place: int, told: list[Told]) -> None:
        super().__init__(f"Source{place}", GpuType.AMD)
        self.tell(told)

    def tell(self, told: list[Told]) -> None:
        self.gpus = [one.gpu() for one in told]
        self._told = {one.key: one for one in told}

    def get_gpu_info(self, gpu: Gpu) -> GpuSample:
        told = self._told[gpu.pci_address or gpu.uuid]
        return GpuSample(1.0, **dict(zip(METRICS, told.readings, strict=True)))


facts = st.builds(
    Told,
    st.sampled_from(ADDRESSES),
    st.booleans(),
    st.none() | st.text(max_size=3),
    st.booleans(),
    st.tuples(*[st.none() | st.integers(0, 9)] * len(METRICS)),
)
lists = st.lists(facts, max_size=6, unique_by=lambda told: told.key)
machines = st.lists(lists, max_size=4)
usual = settings(deadline=None, max_examples=150)


def read(machine: list[list[Told]]) -> tuple[GpuReading, ...]:
    sources = [Source(place, told) for place, told in enumerate(machine)]
    with closing(UnifiedGPUDetector(detectors=[*sources, CPUDetector()])) as detector:
        return detector.read().gpus


def by_key(machine: list[list[Told]]) -> dict[str, list[Told]]:
    """All that is said of each GPU, the preferred source first."""
    said: dict[str, list[Told]] = {}
    for told in (one for source in machine for one in source):
        said.setdefault(told.key, []).append(told)
    return said


def key(reading: GpuReading) -> str:
    return reading.gpu.pci_address or reading.gpu.uuid


@usual
@given(machines)
def test_every_gpu_is_listed_exactly_once_in_its_place(machine: list[list[Told]]):
    readings = read(machine)
    assert sorted(map(key, readings)) == sorted(by_key(machine))
    assert [reading.gpu.index for reading in readings] == list(range(len(readings)))


@usual
@given(machines)
def test_discrete_gpus_come_first_and_else_the_order_is_the_chains(machine: list[list[Told]]):
    said = by_key(machine)
    wanted = sorted(said, key=lambda each: said[each][0].integrated)
    assert [key(reading) for reading in read(machine)] == wanted


@usual
@given(machines)
def test_each_value_is_that_of_the_first_source_that_has_it(machine: list[list[Told]]):
    said = by_key(machine)
    for reading in read(machine):
        for place, metric in enumerate(METRICS):
            known = [told.readings[place] for told in said[key(reading)] if told.readings[place] is not None]
            assert getattr(reading.sample, metric) == (known[0] if known else None)
        drivers = [told.driver for told in said[key(reading)] if told.driver is not None]
        assert reading.gpu.driver_version == (drivers[0] if drivers else None)


@pytest.mark.expects_log_errors
@usual
@given(machines, st.data())
def test_a_source_that_breaks_costs_only_what_it_alone_knew(machine: list[list[Told]], data: st.DataObject):
    broken = data.draw(st.integers(0, max(len(machine) - 1, 0)))
    sources = [Source(place, told) for place, told in enumerate(machine)]
    for source in sources[broken : broken + 1]:
        source.error = OSError("gone")
    with closing(UnifiedGPUDetector(detectors=[*sources, CPUDetector()])) as detector:
        readings = detector.read().gpus
    assert [reading.sample for reading in readings] == [
        reading.sample for reading in read([[] if at == broken else told for at, told in enumerate(machine)])
    ]


@usual
@given(st.lists(st.lists(lists, min_size=2, max_size=2), min_size=1, max_size=5))
def test_no_gpu_changes_its_place_and_lost_is_what_nobody_knows_any_more(surveys: list[list[list[Told]]]):
    sources = [Source(place, []) for place in range(2)]
    places: dict[str, int] = {}
    with closing(UnifiedGPUDetector(detectors=[*sources, CPUDetector()])) as detector:
        for machine in surveys:
            for source, told in zip(sources, machine, strict=True):
                source.tell(told)
            detector.refresh()
            readings = detector.read().gpus
            for reading in readings:
                assert places.setdefault(key(reading), reading.gpu.index) == reading.gpu.index
            assert set(places) == {key(reading) for reading in readings}
            there = {key(reading) for reading in readings if reading.sample.state is not GpuState.LOST}
            assert there == set(by_key(machine))
