"""The devices of a launch by all their names: ours, the one llama-server's options take, and the one in its log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from launchdeck.domain.gpu import Gpu, GpuReading, GpuState, GpuType
from launchdeck.domain.plan import EngineInfo

MIB = 1024 * 1024
_LISTED = re.compile(r"(?P<name>\w+): (?P<text>.*) \((?P<total>\d+) MiB, (?P<free>\d+) MiB free\)")
# llama.cpp's backends that a mask governs, by vendor; the number after it counts the GPUs the mask lets through.
_PREFIXES = {GpuType.NVIDIA: "CUDA", GpuType.AMD: "ROCm"}
_VENDOR_WORDS = {GpuType.NVIDIA: ("nvidia", "geforce"), GpuType.AMD: ("amd", "radeon")}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `--list-devices`."""

    name: str
    text: str
    free_bytes: int

    @classmethod
    def of(cls, line: str) -> Listed | None:
        match = _LISTED.fullmatch(line.strip())
        return None if match is None else cls(match["name"], match["text"], int(match["free"]) * MIB)

    @property
    def vendor(self) -> GpuType | None:
        """Whose GPU it is: told by the backend, or (Vulkan, SYCL) by the name of the device."""
        if self.name.startswith("RPC"):
            return None
        for vendor, prefix in _PREFIXES.items():
            if self.name.startswith(prefix):
                return vendor
        words = self.text.lower()
        return next((v for v, marks in _VENDOR_WORDS.items() if any(mark in words for mark in marks)), None)


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """`label` is for people, `option` for `--device`, `log_name` stands before its buffers in the log. `is_guess`: what
    is free could not be measured, `free_bytes` is the most that it can be.
    """

    label: str
    option: str
    log_name: str
    free_bytes: int | None
    is_worker: bool = False
    is_guess: bool = False


def listed(engine: EngineInfo) -> tuple[Listed, ...]:
    return tuple(device for device in map(Listed.of, engine.devices) if device is not None)


def is_masked(engine: EngineInfo, gpu: Gpu) -> bool:
    """Whether this engine reaches this GPU by its vendor's own library, which obeys the vendor's mask."""
    devices = listed(engine)
    prefix = _PREFIXES.get(gpu.gpu_type)
    return prefix is not None and (not devices or any(device.name.startswith(prefix) for device in devices))


def has_kernels_of_cuda(engine: EngineInfo) -> bool:
    """Whether it has shown GPUs of llama.cpp's CUDA backend, or of ROCm's, which is made of the same source."""
    return any(device.name.startswith(tuple(_PREFIXES.values())) for device in listed(engine))


def can_use(engine: EngineInfo, gpu: Gpu) -> bool:
    """Whether this engine has a backend for this GPU, and can be told to use this one."""
    if gpu.gpu_type not in engine.gpu_types:
        return False
    return is_masked(engine, gpu) or ("--device" in engine.flags and _unmasked_name(engine, gpu) is not None)


def engine_devices(
    engine: EngineInfo, gpus: Sequence[GpuReading], rpc_workers: Sequence[str]
) -> tuple[EngineDevice, ...]:
    """The chosen GPUs and then the workers. A worker is one device, the first that it has."""
    devices = []
    for place, reading in enumerate(gpus):
        if is_masked(engine, reading.gpu):
            name = f"{_PREFIXES[reading.gpu.gpu_type]}{place}"
        else:
            name = _unmasked_name(engine, reading.gpu) or ""
        most_bytes, is_guess = _most_free_bytes(reading), free_bytes(reading) is None
        devices.append(EngineDevice(f"GPU {reading.gpu.index}", name, name, most_bytes, is_guess=is_guess))
    workers = {device.text: device.free_bytes for device in listed(engine) if device.name.startswith("RPC")}
    for place, address in enumerate(rpc_workers):
        devices.append(
            EngineDevice(f"RPC {address}", f"RPC{place}", f"RPC0[{address}]", workers.get(address), is_worker=True)
        )
    return tuple(devices)


def free_bytes(reading: GpuReading) -> int | None:
    """A sleeping GPU is not woken to be asked; nothing runs on it."""
    if reading.sample.state is GpuState.ASLEEP:
        return reading.gpu.total_memory_bytes
    return reading.sample.free_memory_bytes


def _most_free_bytes(reading: GpuReading) -> int | None:
    """What cannot be free is never reckoned with: where the driver does not tell, what the GPU has and nobody is known
    to use.
    """
    known_bytes, total_bytes = free_bytes(reading), reading.gpu.total_memory_bytes
    if known_bytes is not None or total_bytes is None:
        return known_bytes
    return max(total_bytes - (reading.sample.used_memory_bytes or 0), 0)


def _unmasked_name(engine: EngineInfo, gpu: Gpu) -> str | None:
    """The device of a backend without a mask (Vulkan) that this GPU is, told by its name."""
    ours = gpu.name.lower()
    for device in listed(engine):
        theirs = device.text.lower()
        if device.vendor is gpu.gpu_type and (ours in theirs or theirs in ours):
            return device.name
    return None
