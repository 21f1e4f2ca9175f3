"""NVIDIA's management library: opening it, and the one place where its errors turn into missing readings."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, defaultdict
from types import ModuleType
from typing import Any

from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import GpuProcess
from launchdeck.domain.text import Message
from launchdeck.hardware.detector import Complaints
from launchdeck.hardware.memory import Memory
from launchdeck.hardware.nvidia.process_names import ProcessNames

_MEMORY_V2 = 0x02000028  # nvmlMemory_v2: the structure's size, and its version in the upper byte
_NOT_SUPPORTED = 3
_INVALID = 2
_NO_PERMISSION = 4
_NOT_FOUND = 6
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
_FUNCTION_NOT_FOUND = 13
_VERSION_MISMATCH = 18
# GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND; and UNINITIALIZED, when the driver was reloaded under the open library
_LOST = frozenset({15, 16, 28, 1, _DRIVER_NOT_LOADED, _VERSION_MISMATCH})

# What a GPU cannot do, or an old driver does not know, is no reason to worry.
_USUAL = frozenset({_NOT_SUPPORTED, _FUNCTION_NOT_FOUND})
# What opening a GPU ends with where there is none, or none for this user.
_NONE_THERE = frozenset({_INVALID, _NOT_FOUND, _NO_PERMISSION})
_MAY_HAVE_GAPS = frozenset({"nvmlDeviceGetMigDeviceHandleByIndex"})
# The same of Python's: a module that does not know the function, or not for this driver.
_USUAL_ERRORS = frozenset({"AttributeError", "NVMLLibraryMismatchError"})
# Compute and graphics: each as it is now, as drivers before 510 have it, and as other modules call it.
_PROCESS_LISTS = tuple(
    tuple(f"nvmlDeviceGet{kind}RunningProcesses{version}" for version in ("_v3", "_v2", ""))
    for kind in ("Compute", "Graphics")
)

_REASONS = {
    _NO_PERMISSION: Message(
        "The NVIDIA driver refuses access. Give this user access to /dev/nvidia0 and /dev/nvidiactl."
    ),
    _DRIVER_NOT_LOADED: Message("The NVIDIA driver is installed but not loaded. Restart the computer."),
    _LIBRARY_NOT_FOUND: Message("No NVIDIA driver is installed."),
    _VERSION_MISMATCH: Message(
        "The NVIDIA driver was updated, but the old one is still running. Restart the computer."
    ),
}


class GpuLostError(Exception):
    """The GPU does not answer any more: it fell off the bus, needs a reset, or its driver is gone or was replaced."""


class Nvml:
    """The opened library. `device` is only a name for the log; handles are NVML's own."""

    def __init__(self) -> None:
        self._pynvml: ModuleType | None = None
        self._complaints = Complaints()
        self._codes: dict[tuple[str, str], Any] = {}
        self._answered: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    @property
    def is_open(self) -> bool:
        return self._pynvml is not None

    def open(self) -> tuple[Outcome, Message] | None:
        """None: it is open. Else what is wrong, in words."""
        try:
            import pynvml  # noqa: PLC0415 (8,000 lines, needed in the sampling thread only)

            pynvml.nvmlInit()
        except Exception as error:  # noqa: BLE001 (NVMLError, but also ImportError and NVMLLibraryMismatchError)
            code = getattr(error, "value", None)
            outcome = Outcome.NOT_INSTALLED if code == _LIBRARY_NOT_FOUND else Outcome.FAILED
            unknown = Message("The NVIDIA driver does not answer: {error}.", error=str(error))
            return outcome, _REASONS.get(code, unknown) if isinstance(code, int) else unknown
        self._pynvml = pynvml
        return None

    def close(self) -> None:
        """Let go of all GPUs, so that they can sleep."""
        if self._pynvml is not None:
            with contextlib.suppress(GpuLostError):  # the driver went first
                self.ask("", "nvmlShutdown")
            self._pynvml = None

    def ask(self, device: str, call: str, *arguments: Any, **options: Any) -> Any:
        """The result of pynvml's function `call`; None where the driver has none, which is logged once.

        Raises:
            GpuLostError: the GPU does not answer any more.
        """
        try:
            answer = getattr(self._pynvml, call)(*arguments, **options)
        except Exception as error:  # a driver can fail in any way, say with a name that is no UTF-8
            code = self._codes[device, call] = getattr(error, "value", None)
            if code in _LOST:
                raise GpuLostError(device) from error
            is_usual = code in _USUAL or type(error).__name__ in _USUAL_ERRORS
            is_usual = is_usual or (code == _NOT_FOUND and call in _MAY_HAVE_GAPS)
            self._failed[device] += not is_usual
            level = logging.DEBUG if is_usual else logging.WARNING
            self._complaints.log(level, (device, call, repr(code)), f"{device or 'NVML'}: no {call}: {error}")
            return None
        self._codes.pop((device, call), None)
        self._answered[device] += 1
        return answer

    def handle(self, device: str, call: str, argument: int | bytes) -> Any:
        """The GPU that `call` opens; None where the driver has none there, or none for this user.

        Raises:
            GpuLostError: there is one, and it does not answer.
        """
        handle = self.ask(device, call, argument)
        if handle is None and self._codes.get((device, call)) not in _NONE_THERE:
            raise GpuLostError(device)
        return handle

    def count_anew(self, device: str) -> None:
        """Begin a round of readings, see `answers_nothing`."""
        self._answered[device] = self._failed[device] = 0

    def answers_nothing(self, device: str) -> bool:
        """Whether since `count_anew` nothing has been read at all, and not because there is nothing to be read."""
        return not self._answered[device] and self._failed[device] > 0

    def memory(self, device: str, handle: Any) -> Memory | None:
        """The GPU's own memory. Version 1 counts what the driver reserves for itself as used, version 2 does not."""
        info = self.ask(device, "nvmlDeviceGetMemoryInfo", handle, version=_MEMORY_V2)
        if info is None:
            info = self.ask(device, "nvmlDeviceGetMemoryInfo", handle)
        return None if info is None else Memory(info.total, info.used, info.free)

    def has_no_memory(self, device: str, memory: Memory | None) -> bool:
        """Whether the GPU has none of its own (GB10, Jetson): NVML then gives NotSupported, or a total of 0."""
        if memory is None:
            return self._codes.get((device, "nvmlDeviceGetMemoryInfo")) == _NOT_SUPPORTED
        return memory.total_bytes == 0

    def processes(self, device: str, handle: Any, names: ProcessNames) -> tuple[GpuProcess, ...]:
        """Compute and graphics processes as one list; a process that does both is in both of NVML's."""
        used: dict[int, int | None] = {}
        for calls in _PROCESS_LISTS:
            lists = (self.ask(device, call, handle) for call in calls)
            entries = next((entries for entries in lists if entries is not None), ())
            for pid, size in _sums(entries).items():
                used[pid] = max((value for value in (used.get(pid), size) if value is not None), default=None)
        named = names.of(used)
        return tuple(GpuProcess(pid, named.get(pid, ""), size) for pid, size in sorted(used.items()))


def _sums(entries: Any) -> dict[int, int | None]:
    """Bytes by process: with MIG a process has an entry for every GPU instance it uses."""
    sums: defaultdict[int, int | None] = defaultdict(lambda: None)
    for entry in entries:
        sums[entry.pid] = sums[entry.pid]
        if entry.usedGpuMemory is not None:
            sums[entry.pid] = (sums[entry.pid] or 0) + entry.usedGpuMemory
    return dict(sums)


def text(value: str | bytes | None) -> str:
    """Older releases of pynvml give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
