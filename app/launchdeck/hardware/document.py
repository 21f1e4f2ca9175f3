"""The inventory as a JSON document: what `launchdeck gpus --json` prints, the API sends and `--inventory` reads."""

from __future__ import annotations

import time
from typing import Any, Final

from launchdeck.domain.detection import Step
from launchdeck.domain.gpu import Gpu, GpuMask, GpuProcess, GpuReading, GpuSample, GpuState, GpuType, Inventory
from launchdeck.domain.text import Message
from launchdeck.domain.units import MIB
from launchdeck.hardware.json_object import JsonObject, unusable
from launchdeck.hardware.plausible import plausible_gpu, plausible_sample

_MOST_MIB: Final = 2**33  # 8 PiB: in bytes it has room in 64 bits, and in a number with a point
_LONGEST_VERSION: Final = 16
# The document has three states; of a GPU whose driver hangs its readers have to know that it cannot be used.
_STATES: Final = {GpuState.STALLED: GpuState.LOST}


def to_document(inventory: Inventory) -> dict[str, Any]:
    """`gpus` holds GPUs only, and with none the CPU; `cpu` is always the CPU. Memory is in MiB, rounded down.

    `free_memory_mb` is what was measured; `promised_memory_mb` of it is promised to launches that do not hold it yet.
    It is told, and not read back: nothing is launched on a recorded machine.
    `detection` tells, for every source that was to be asked, what came of it.
    """
    readings = inventory.gpus or (inventory.cpu,)
    return {
        "gpus": [_entry(reading) for reading in readings],
        "total": len(readings),
        "detector": inventory.detector,
        "cpu": _entry(inventory.cpu),
        "sampled_at_s": round(inventory.sampled_at_s, 3),
        "replay": inventory.replayed,
        "detection": [_step(step) for step in inventory.steps],
    }


def from_document(document: Any) -> Inventory:
    """The inventory that a document describes, marked as replayed. What it leaves out was not measured.

    Raises:
        LaunchdeckError: it is no inventory; the sentence says where.
    """
    top = JsonObject(document)
    if not top.has("gpus"):
        raise unusable("gpus", Message("a list"))  # some other JSON file
    sampled_at_s = top.number("sampled_at_s") or time.time()
    readings = tuple(_reading(entry, place, sampled_at_s) for place, entry in enumerate(top.children("gpus")))
    gpus = tuple(reading for reading in readings if reading.gpu.gpu_type is not GpuType.CPU)
    if len(readings) > len(gpus) and len(readings) > 1:
        raise unusable("gpus", Message("a list of GPUs, or the CPU alone"))
    before: set[str] = set()
    for place, reading in enumerate(readings):
        if reading.gpu.uuid in before:
            raise unusable(f"gpus[{place}].uuid", Message("another than that of the GPUs before it"))
        before.add(reading.gpu.uuid)
    cpu_entry = top.child("cpu")
    cpu = _reading(cpu_entry, 0, sampled_at_s) if cpu_entry else _cpu_of(readings, sampled_at_s)
    return Inventory(gpus, cpu, top.text("detector") or "CPUDetector", sampled_at_s, replayed=True)


def _entry(reading: GpuReading) -> dict[str, Any]:
    gpu, sample = reading.gpu, reading.sample
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "pci_address": gpu.pci_address,
        "name": gpu.name,
        "gpu_type": str(gpu.gpu_type),
        "ours": gpu.ours,
        "hidden_by": gpu.hidden_by and gpu.hidden_by.setting,
        "total_memory_mb": _mib(gpu.total_memory_bytes),
        "used_memory_mb": _mib(sample.used_memory_bytes),
        "free_memory_mb": _mib(sample.free_memory_bytes),
        "promised_memory_mb": _mib(reading.promised_bytes),
        "utilization_percent": sample.utilization_percent,
        "core_percents": list(sample.core_percents),
        "temperature_c": sample.temperature_c,
        "power_watts": sample.power_watts,
        "power_limit_watts": sample.power_limit_watts,
        "graphics_clock_mhz": sample.graphics_clock_mhz,
        "memory_clock_mhz": sample.memory_clock_mhz,
        "fan_percent": sample.fan_percent,
        "state": str(_STATES.get(sample.state, sample.state)),
        "integrated": gpu.integrated,
        "hip_id": gpu.hip_id,
        "gfx_target": gpu.gfx_target,
        "slice_of": gpu.slice_of,
        "problem": None if gpu.problem is None else str(gpu.problem),
        "driver_version": gpu.driver_version,
        "compute_capability": gpu.compute_capability and "{}.{}".format(*gpu.compute_capability),
        "processes": [
            {"pid": process.pid, "name": process.name, "used_memory_mb": _mib(process.used_memory_bytes)}
            for process in sample.processes
        ],
    }


def _step(step: Step) -> dict[str, Any]:
    reason = None if step.reason is None else str(step.reason)
    return {"detector": step.detector, "outcome": str(step.outcome), "reason": reason, "version": step.version}


def _reading(entry: JsonObject, place: int, sampled_at_s: float) -> GpuReading:
    if entry.number("index") not in {None, place}:
        raise unusable(entry.path("index"), Message("{place}, its place in the list", place=place))
    gpu_type, problem = entry.choice("gpu_type", GpuType), entry.text("problem")
    hidden_by = entry.text("hidden_by")
    gpu = Gpu(
        index=place,
        uuid=entry.text("uuid") or f"{gpu_type}-{place}",
        pci_address=entry.text("pci_address") or None,
        name=entry.text("name") or str(gpu_type).upper(),
        gpu_type=gpu_type,
        total_memory_bytes=_bytes(entry, "total_memory_mb"),
        driver_version=entry.text("driver_version"),
        compute_capability=_version(entry, "compute_capability"),
        integrated=entry.truth("integrated"),
        hip_id=entry.integer("hip_id"),
        gfx_target=entry.text("gfx_target"),
        ours=entry.truth("ours", default=True),
        hidden_by=GpuMask(hidden_by) if hidden_by else None,
        slice_of=entry.text("slice_of"),
        problem=None if problem is None else Message("{problem}", problem=problem),
    )
    return _plausible(gpu, _sample(entry, sampled_at_s))


def _plausible(gpu: Gpu, sample: GpuSample) -> GpuReading:
    """An older version may have recorded what a driver cannot have measured."""
    gpu = plausible_gpu(gpu)
    return GpuReading(gpu, plausible_sample(gpu, sample))


def _sample(entry: JsonObject, sampled_at_s: float) -> GpuSample:
    return GpuSample(
        sampled_at_s=sampled_at_s,
        used_memory_bytes=_bytes(entry, "used_memory_mb"),
        free_memory_bytes=_bytes(entry, "free_memory_mb"),
        utilization_percent=entry.integer("utilization_percent"),
        temperature_c=entry.integer("temperature_c", below_zero=True),
        power_watts=entry.number("power_watts"),
        power_limit_watts=entry.number("power_limit_watts"),
        graphics_clock_mhz=entry.integer("graphics_clock_mhz"),
        memory_clock_mhz=entry.integer("memory_clock_mhz"),
        fan_percent=entry.integer("fan_percent"),
        core_percents=tuple(entry.integers("core_percents")),
        state=entry.choice("state", GpuState, GpuState.ACTIVE),
        processes=tuple(
            GpuProcess(process.integer("pid") or 0, process.text("name") or "", _bytes(process, "used_memory_mb"))
            for process in entry.children("processes")
        ),
    )


def _cpu_of(readings: tuple[GpuReading, ...], sampled_at_s: float) -> GpuReading:
    """The CPU of a document without a `cpu` of its own."""
    if readings and readings[0].gpu.gpu_type is GpuType.CPU:
        return readings[0]
    return GpuReading(Gpu(0, "cpu", None, "CPU", GpuType.CPU, total_memory_bytes=None), GpuSample(sampled_at_s))


def _mib(size_bytes: int | None) -> int | None:
    return None if size_bytes is None else size_bytes // MIB


def _bytes(entry: JsonObject, key: str) -> int | None:
    size_mib = entry.number(key)
    if size_mib is not None and size_mib > _MOST_MIB:
        raise unusable(entry.path(key), Message("a number of MiB, at most {most}", most=_MOST_MIB))
    return None if size_mib is None else round(size_mib * MIB)


def _version(entry: JsonObject, key: str) -> tuple[int, int] | None:
    """`8.9` as (8, 9)."""
    text = entry.text(key)
    if text is None:
        return None
    major, _, minor = text.partition(".")
    if len(text) > _LONGEST_VERSION or not (major.isdecimal() and minor.isdecimal()):
        raise unusable(entry.path(key), Message("a text like 8.9"))
    return int(major), int(minor)
