"""Which of this machine's GPUs a request means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading, Inventory, PlannedGpu
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.devices.devices import free_bytes
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
    if request.gpu_uuids is None:
        free = [reading for reading in inventory.gpus if _is_usable(reading) and usable(reading.gpu)]
        return tuple(sorted(free, key=lambda reading: free_bytes(reading) or 0, reverse=True)[:1])
    here = inventory.by_uuid
    if len(set(request.gpu_uuids)) < len(request.gpu_uuids):
        raise _refusal(Message("A GPU is asked for twice."), Message("Name each GPU once."), cause=Cause.BAD_REQUEST)
    for named in request.named_gpus:
        reading = here.get(named.uuid)
        if reading is None:
            raise _missing(named, inventory) if named in request.known_gpus else _unknown(named.uuid, inventory)
        gpu = reading.gpu
        if not gpu.ours:
            raise _hidden(gpu)
        if not _is_there(reading):
            raise _refusal(
                Message("GPU {index} ({name}) does not answer any more.", index=gpu.index, name=gpu.name),
                Message("Choose another GPU, or restart the machine."),
            )
    chosen = tuple(here[uuid] for uuid in request.gpu_uuids)
    _check_slices([reading.gpu for reading in chosen])
    return chosen


def with_gpus(request: ModelLoadRequest, gpus: Sequence[PlannedGpu]) -> ModelLoadRequest:
    """The request with exactly these GPUs."""
    return replace(request, gpu_uuids=tuple(gpu.uuid for gpu in gpus), known_gpus=tuple(gpus))


def warnings_without_gpus(request: ModelLoadRequest, inventory: Inventory) -> Iterator[Message]:
    """What there is to say where the choice of a GPU was left to us and none was taken: it will be the CPU."""
    if request.gpu_uuids is not None or request.n_gpu_layers == 0 or not inventory.gpus:
        return
    if any(reading.gpu.ours for reading in inventory.gpus):
        yield NO_ENGINE_FOR_GPUS
        return
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
            raise _refusal(gpu.problem, Message("Choose another GPU, or the CPU."), cause=Cause.BAD_REQUEST)
    if len(gpus) > 1 and any(gpu.slice_of is not None for gpu in gpus):
        raise _refusal(
            Message("One launch can use one slice of a divided GPU (MIG), and no other GPU beside it."),
            Message("Choose one slice, or GPUs that are not divided."),
            cause=Cause.BAD_REQUEST,
        )


def _missing(gpu: PlannedGpu, inventory: Inventory) -> LaunchdeckError:
    """It is never replaced by another one: which card a model runs on is the user's to say."""
    if not gpu.is_identified:
        return _unidentified(gpu, inventory)
    if gpu.short_address is None:
        message = Message("{name} is not there.", name=gpu.name or gpu.uuid)
    else:
        message = Message("{name} at {address} is not there.", name=gpu.name or gpu.uuid, address=gpu.short_address)
    return _refusal(message, Message("Check that it has power and that its driver is loaded, or choose another GPU."))


def _unidentified(gpu: PlannedGpu, inventory: Inventory) -> LaunchdeckError:
    if any(reading.gpu.index == gpu.index for reading in inventory.gpus):
        message = Message("This was saved for GPU {index}, which may be another one now.", index=gpu.index)
    else:
        message = Message("This was saved for GPU {index}, which is not there.", index=gpu.index)
    return _refusal(message, Message("Choose its GPU again."))


def _unknown(name: str, inventory: Inventory) -> LaunchdeckError:
    """`name` is what was typed, where nothing that is there is called so."""
    if not inventory.gpus:
        return _refusal(
            Message("There is no GPU {index}: this machine has no GPU.", index=name), Message("Choose the CPU.")
        )
    places = sorted(reading.gpu.index for reading in inventory.gpus)
    return _refusal(
        Message("There is no GPU {index}.", index=name),
        Message("Choose from {known}, or the CPU.", known=", ".join(map(str, places))),
    )


def _refusal(message: Message, advice: Message, cause: Cause = Cause.BAD_GPU) -> LaunchdeckError:
    return LaunchdeckError(Failure(cause, message, advice, fixes=(RUN_ON_CPU,)))
