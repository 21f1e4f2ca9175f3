"""Which of this machine's GPUs a request means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading, Inventory
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.devices import free_bytes
from launchdeck.engines.fixes import NO_ENGINE_FOR_GPUS, RUN_ON_CPU


def target_gpus(
    request: ModelLoadRequest, inventory: Inventory, usable: Callable[[Gpu], bool]
) -> tuple[GpuReading, ...]:
    """The GPUs asked for, in that order. Where the choice is left to us, the one of ours with the most free memory that
    some engine can use, and none if there is none.

    Raises:
        LaunchdeckError: there is no such GPU, it is not ours, it is asked for twice, does not answer any more, or
            cannot be used as asked.
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
        if not by_index[index].gpu.ours:
            raise _hidden(by_index[index].gpu)
        if not _is_there(by_index[index]):
            raise _refusal(
                Message("GPU {index} ({name}) does not answer any more.", index=index, name=by_index[index].gpu.name),
                Message("Choose another GPU, or restart the machine."),
            )
    chosen = tuple(by_index[index] for index in request.gpu_indices)
    _check_slices([reading.gpu for reading in chosen])
    return chosen


def warnings_without_gpus(request: ModelLoadRequest, inventory: Inventory) -> Iterator[Message]:
    """What there is to say where the choice of a GPU was left to us and none was taken: it will be the CPU."""
    if request.gpu_indices is not None or request.n_gpu_layers == 0 or not inventory.gpus:
        return
    if any(reading.gpu.ours for reading in inventory.gpus):
        yield NO_ENGINE_FOR_GPUS
    for mask in dict.fromkeys(reading.gpu.hidden_by for reading in inventory.gpus if reading.gpu.hidden_by):
        yield mask.doubt or Message(
            "GPUs of this machine are hidden from Launchdeck by {mask}: the model will run on the CPU.",
            mask=mask.setting,
        )


def _hidden(gpu: Gpu) -> LaunchdeckError:
    if gpu.hidden_by is None:  # so says a recorded inventory
        return _refusal(
            Message("GPU {index} ({name}) is hidden from Launchdeck.", index=gpu.index, name=gpu.name),
            Message("Choose another GPU."),
        )
    return _refusal(
        Message(
            "GPU {index} ({name}) is hidden from Launchdeck by {mask}.",
            index=gpu.index,
            name=gpu.name,
            mask=gpu.hidden_by.setting,
        ),
        gpu.hidden_by.doubt or Message("Choose another GPU, or start Launchdeck without that variable."),
    )


def _is_there(reading: GpuReading) -> bool:
    return reading.sample.state.answers


def _is_usable(reading: GpuReading) -> bool:
    return _is_there(reading) and reading.gpu.ours and reading.gpu.problem is None


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
