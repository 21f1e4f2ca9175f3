"""Which GPUs NVIDIA's driver counts, and how they are divided: asked in a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from launchdeck.hardware.nvidia import mig
from launchdeck.hardware.nvidia.nvml import GpuLostError, Nvml
from launchdeck.hardware.owner_thread import OwnerThread, StalledError


@dataclass(frozen=True, slots=True)
class _Seen:
    """`count` is None where counting would wake GPUs that sleep. Layouts: the slices of each card, by its UUID."""

    count: int | None
    layouts: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)


class Census:
    """Whether the driver has other GPUs, or other slices of them, than when they were opened.

    A driver that hangs while it counts costs the count alone: nobody waits longer than the patience, its GPUs are read
    on, and the library is left open for as long as `is_asking`.
    """

    def __init__(self, nvml: Nvml, patience_s: float) -> None:
        self._nvml = nvml
        self._patience_s = patience_s
        self._thread = OwnerThread("NVML's count")
        self._known: _Seen | None = None
        self._handles: dict[str, Any] = {}
        self._seen: _Seen | None = None
        self._counts = True

    @property
    def counts(self) -> bool:
        """Whether the driver has said how many GPUs it has, the last time that it was asked."""
        return self._counts

    @property
    def is_asking(self) -> bool:
        """Whether a question that was given up has still not come back."""
        return self._thread.is_stalled

    def count(self) -> int | None:
        """How many GPUs the driver counts; None where it does not say, or not in time."""
        try:
            return self._thread.call(self._count, self._patience_s)
        except StalledError:
            self._counts = False
            return None

    def begin(self, count: int | None, handles: Mapping[str, Any], layouts: Mapping[str, tuple[str, ...]]) -> None:
        """From now on these are the known ones. `handles` are those of whole cards, by their UUIDs; those in `layouts`
        are divided.
        """
        self._handles = dict(handles)
        self._known = _Seen(count, {uuid: layouts.get(uuid) for uuid in handles})
        self._seen = None

    def has_changed(self) -> bool:
        """Whether there is something else now. What comes back late counts the next time."""
        if self._known is None:
            return False
        with suppress(StalledError):  # then what it said before
            self._thread.call(self._look, self._patience_s)
        return self._seen is not None and self._seen != self._known

    def forget(self) -> None:
        """The library is closed, or its GPUs are opened anew."""
        self._known = self._seen = None
        self._handles = {}
        self._counts = True
        if not self.is_asking:
            self._thread.end()

    def _count(self) -> int | None:
        count: int | None = None
        with suppress(GpuLostError):
            count = self._nvml.ask("", "nvmlDeviceGetCount")
        self._counts = count is not None
        return count

    def _look(self) -> None:
        """In the thread. What does not answer has not changed."""
        known, handles = self._known, self._handles
        if known is None:
            return
        count = known.count if known.count is None else self._count()
        layouts = {uuid: self._layout(uuid, handle, known) for uuid, handle in handles.items()}
        self._seen = _Seen(known.count if count is None else count, layouts)

    def _layout(self, uuid: str, handle: Any, known: _Seen) -> tuple[str, ...] | None:
        try:
            return mig.layout(self._nvml, uuid, handle)
        except GpuLostError:
            return known.layouts[uuid]
