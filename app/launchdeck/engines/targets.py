"""Which of this machine's GPUs a request means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading, Inventory, PlannedGpu
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
        LaunchdeckError: there is no such GPU, it is asked for twice, or it does not answer any more.
    """
    if request.gpu_uuids is None:
        free = [reading for reading in inventory.gpus if _is_there(reading) and usable(reading.gpu)]
        return tuple(sorted(free, key=lambda reading: free_bytes(reading) or 0, reverse=True)[:1])
    here = {reading.gpu.uuid: reading for reading in inventory.gpus}
    if len(set(request.gpu_uuids)) < len(request.gpu_uuids):
        raise _refusal(Message("A GPU is asked for twice."), Message("Name each GPU once."), cause=Cause.BAD_REQUEST)
    known = {gpu.uuid: gpu for gpu in request.known_gpus}
    for uuid in request.gpu_uuids:
        if uuid not in here:
            raise _missing(known[uuid], inventory) if uuid in known else _unknown(uuid, inventory)
        if not _is_there(here[uuid]):
            gpu = here[uuid].gpu
            raise _refusal(
                Message("GPU {index} ({name}) does not answer any more.", index=gpu.index, name=gpu.name),
                Message("Choose another GPU, or restart the machine."),
            )
    return tuple(here[uuid] for uuid in request.gpu_uuids)


def with_gpus(request: ModelLoadRequest, gpus: Sequence[PlannedGpu]) -> ModelLoadRequest:
    """The request with exactly these GPUs."""
    return replace(request, gpu_uuids=tuple(gpu.uuid for gpu in gpus), known_gpus=tuple(gpus))


def _is_there(reading: GpuReading) -> bool:
    return reading.sample.state.answers


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
