"""A detector whose calls all come from a thread of its own, so that its failures and hangs stay its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from launchdeck.domain.detection import Outcome, Step
from launchdeck.domain.gpu import Gpu, GpuSample, GpuState
from launchdeck.domain.text import Message
from launchdeck.hardware.detector import Complaints, GPUDetector
from launchdeck.hardware.owner_thread import OwnerThread, StalledError
from launchdeck.hardware.patience import Patience

logger = logging.getLogger(__name__)

_FIRST_PATIENCE_S: Final = 3.0  # opening a driver's library can take seconds on a server
_PATIENCE_LEFT: Final = 0.25
_TROUBLE: Final = frozenset({Outcome.FAILED, Outcome.STALLED})
_T = TypeVar("_T")


class _Batch:
    """One sample of each of several devices, in the detector's thread; what has been `taken` stays if it is given up
    in the middle.
    """

    def __init__(self, sample: Callable[[Gpu], GpuSample], gpus: Mapping[str, Gpu]) -> None:
        self._sample = sample
        self._gpus = gpus
        self.taken: dict[str, GpuSample] = {}
        self.current = next(iter(gpus))
        self._begun_s = time.monotonic()
        self.given_up = False

    def latest_step_s(self) -> float:
        """When the sample that is being taken was begun."""
        return self._begun_s

    def take(self) -> None:
        for key, gpu in self._gpus.items():
            if self.given_up:
                return
            self.current, self._begun_s = key, time.monotonic()
            sample = self._sample(gpu)
            if not self.given_up:
                self.taken[key] = sample


class OwnedDetector:
    """What its detector answers, or answered last: no method raises, and none waits longer than its patience, nor
    at all while an earlier call has not come back.

    A reading that hangs keeps its thread, and its GPU is stalled until it comes back; another thread goes on with the
    detector's other GPUs. Meanwhile the library is neither closed nor asked which devices there are.
    `step` tells of the latest look for devices; the log hears of it when its outcome changes.
    """

    def __init__(self, detector: GPUDetector, patience: Patience) -> None:
        self.detector = detector
        self.step = Step(detector.name, Outcome.SKIPPED)
        self._thread = OwnerThread(detector.name)
        self._stuck: dict[str, OwnerThread] = {}
        self._patience_s = patience.last_resort_s if detector.last_resort else patience.opening_s
        self._reading_patience_s = patience.reading_s
        self._was_asked = False
        self._is_late = False
        self._gpus: list[Gpu] = []
        self._complaints = Complaints()

    @property
    def is_late(self) -> bool:
        """Whether a call was given up since the latest look at which devices there are."""
        return self._is_late

    @property
    def is_back(self) -> bool:
        """Whether a call that was given up has come back since, so that asking again is worth while."""
        return self._is_late and not self._thread.is_stalled and not any(t.is_stalled for t in self._stuck.values())

    def gpus(self) -> list[Gpu]:
        """The devices there are now. One that does not answer keeps those it had, one that fails has none."""
        detector = self.detector
        try:
            self._gpus = self._call(detector.get_gpu_list)
            self._note(detector.step)
        except StalledError as stalled:
            self._note_stalled(stalled)
        except Exception as error:  # noqa: BLE001 (whatever one vendor's library does, the others are shown)
            self._gpus = []
            self._note(Step(detector.name, Outcome.FAILED, Message("It failed: {error}.", error=repr(error))), error)
        return self._gpus

    def skip(self) -> None:
        """Its devices are known from others."""
        self._gpus = []
        self._is_late = self._thread.is_stalled
        self._note(Step(self.detector.name, Outcome.SKIPPED, Message("Another source has answered.")))

    def samples(self, gpus: Mapping[str, Gpu]) -> dict[str, GpuSample]:
        """A sample of each of these devices, by the same keys."""
        self._free_those_that_are_back()
        samples = {key: GpuSample(time.time(), state=GpuState.STALLED) for key in gpus}
        wanted = {key: gpu for key, gpu in gpus.items() if key not in self._stuck}
        patience_s = self._reading_patience_s
        while wanted and not self._thread.is_stalled:
            batch = _Batch(self._sample, wanted)
            try:
                self._in_thread(batch.take, patience_s, batch.latest_step_s)
            except StalledError as stalled:
                self._note_stalled(stalled)
                batch.given_up = True
                self._set_aside(batch.current)
                patience_s = self._reading_patience_s * _PATIENCE_LEFT  # what holds up one may well hold up all
            samples |= batch.taken
            wanted = {key: gpu for key, gpu in wanted.items() if key not in batch.taken and key not in self._stuck}
        return samples

    def release(self) -> None:
        """Let go of the library; the next call opens it again."""
        if self._was_asked:
            with suppress(StalledError):
                self._call(self.detector.close)

    def end(self) -> None:
        """Let go of the library and of the threads."""
        self.release()
        for thread in (self._thread, *self._stuck.values()):
            thread.end()

    def _call(self, work: Callable[[], _T]) -> _T:
        """For calls that are about the library as a whole."""
        self._free_those_that_are_back()
        for stuck in self._stuck.values():
            raise StalledError(stuck.stalled_for_s)
        patience_s = self._patience_s if self._was_asked else max(self._patience_s, _FIRST_PATIENCE_S)
        self._was_asked = True
        self._is_late = False
        return self._in_thread(work, patience_s)

    def _set_aside(self, key: str) -> None:
        """Leave the thread to the reading that hangs in it, and go on with another one."""
        self._stuck[key], self._thread = self._thread, OwnerThread(self.detector.name)

    def _in_thread(
        self, work: Callable[[], _T], patience_s: float, begun_s: Callable[[], float] = lambda: float("-inf")
    ) -> _T:
        try:
            return self._thread.call(work, patience_s, begun_s)
        except StalledError:
            self._is_late = True
            raise

    def _free_those_that_are_back(self) -> None:
        for key in [key for key, thread in self._stuck.items() if not thread.is_stalled]:
            self._stuck.pop(key).end()

    def _sample(self, gpu: Gpu) -> GpuSample:
        """In the detector's own thread."""
        name = self.detector.name
        try:
            return self.detector.get_gpu_info(gpu)
        except Exception as error:  # noqa: BLE001 (the other GPUs are shown all the same)
            self._complaints.log(logging.ERROR, (name, gpu.uuid), f"{name} cannot read {gpu.name}", error)
            return GpuSample(time.time())

    def _note_stalled(self, stalled: StalledError) -> None:
        reason = Message("It has not answered for {seconds} s.", seconds=f"{stalled.for_s:.0f}")
        self._note(Step(self.detector.name, Outcome.STALLED, reason))

    def _note(self, step: Step, error: Exception | None = None) -> None:
        if step.outcome is not self.step.outcome:
            level = logging.ERROR if error else logging.WARNING if step.outcome in _TROUBLE else logging.INFO
            logger.log(level, "%s: %s. %s", step.detector, step.outcome, step.reason or "", exc_info=error)
        self.step = step
