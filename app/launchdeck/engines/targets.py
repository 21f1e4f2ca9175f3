"""Which of this machine's GPUs a request means."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading, Inventory
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.devices import free_bytes
from launchdeck.engines.fixes import RUN_ON_CPU


def target_gpus(
    request: ModelLoadRequest, inventory: Inventory, usable: Callable[[Gpu], bool]
) -> tuple[GpuReading, ...]:
    """The GPUs asked for, in that order. Where the choice is ours, the one with the most free memory that some engine
    can use, and none if there is none.

    Raises:
        LaunchdeckError: there is no such GPU, it is asked for twice, does not answer any more, or cannot be used as
            asked.
    """
    if request.gpu_indices is None:
        free = [reading for reading in inventory.gpus if _is_usable(reading) and usable(reading.gpu)]
        return tuple(sorted(free, key=lambda reading: free_bytes(reading) or 0, reverse=True)[:1])
    by_index = {reading.gpu.index: reading for reading in inventory.gpus}
    if len(set(request.gpu_indices)) < len(request.gpu_indices):
        raise _refusal(Message("A GPU is asked for twice."), Message("Name each GPU once."))
    for index in request.gpu_indices:
        if index not in by_index:
            raise _unknown(index, sorted(by_index))
        if not _is_there(by_index[index]):
            raise _refusal(
                Message("GPU {index} ({name}) does not answer any more.", index=index, name=by_index[index].gpu.name),
                Message("Choose another GPU, or restart the machine."),
            )
    chosen = tuple(by_index[index] for index in request.gpu_indices)
    _check_slices([reading.gpu for reading in chosen])
    return chosen


def _is_there(reading: GpuReading) -> bool:
    return reading.sample.state.answers


def _is_usable(reading: GpuReading) -> bool:
    return _is_there(reading) and reading.gpu.problem is None


def _check_slices(gpus: Sequence[Gpu]) -> None:
    """CUDA shows a process one slice of one card, whatever its mask names besides."""
    for gpu in gpus:
        if gpu.problem is not None:
            raise _refusal(gpu.problem, Message("Choose another GPU, or the CPU."))
    if len(gpus) > 1 and any(gpu.slice_of is not None for gpu in gpus):
        raise _refusal(
            Message("One launch can use one slice of a divided GPU (MIG), and no other GPU beside it."),
            Message("Choose one slice, or GPUs that are not divided."),
        )


def _unknown(index: int, known: list[int]) -> LaunchdeckError:
    if not known:
        return _refusal(
            Message("There is no GPU {index}: this machine has no GPU.", index=index), Message("Choose the CPU.")
        )
    return _refusal(
        Message("There is no GPU {index}.", index=index),
        Message("Choose from {known}, or the CPU.", known=", ".join(map(str, known))),
    )


def _refusal(message: Message, advice: Message) -> LaunchdeckError:
    return LaunchdeckError(Failure(Cause.BAD_REQUEST, message, advice, fixes=(RUN_ON_CPU,)))
