"""What there is to say of a launch of llama.cpp that can be started all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launchdeck.domain.model import ModelInfo
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.context import PlanningContext
from launchdeck.engines.devices.devices import EngineDevice
from launchdeck.engines.devices.targets import warnings_without_gpus
from launchdeck.engines.llama.argv import UNIFIED_MEMORY, LlamaLaunch
from launchdeck.engines.llama.rope_scaling import FIRST_BUILD_THAT_LIFTS, lifts_slots, slot_limit
from launchdeck.planning.llama.estimate import MemoryModel


def warnings_of_model(model: ModelInfo, memory: MemoryModel) -> tuple[Message, ...]:
    if memory.is_known:
        return ()
    message = Message(
        "Launchdeck does not know the architecture {name}: its memory is estimated from keys and tensors alone.",
        name=model.architecture,
    )
    return (message,)


def warnings_of_layers(
    request: ModelLoadRequest,
    context: PlanningContext,
    devices: Sequence[EngineDevice],
    largest: int | None,
) -> tuple[Message, ...]:
    warnings: list[Message] = []
    asked = request.n_gpu_layers
    if not devices:
        warnings += warnings_without_gpus(request, context.inventory)
        if not warnings and asked not in {None, 0}:
            warnings.append(Message("On the CPU no layer is placed on a GPU; the layers asked for are ignored."))
    elif asked is None and largest == 0:
        warnings.append(Message("Not one layer fits on the chosen devices: the model will run on the CPU."))
    unknown = [device.label for device in devices if device.free_bytes is None]
    if asked is None and unknown:
        names = ", ".join(unknown)
        warnings.append(Message("The free memory of {names} is not known: all layers are placed.", names=names))
    guessed = [device.label for device in devices if device.is_guess and device.free_bytes is not None]
    if guessed:
        message = Message(
            "The free memory of {names} cannot be measured: the plan reckons with all that can be free.",
            names=", ".join(guessed),
        )
        warnings.append(message)
    return tuple(warnings)


def warnings_of_slots(request: ModelLoadRequest, launch: LlamaLaunch) -> tuple[Message, ...]:
    if launch.n_parallel == request.n_parallel:
        return ()
    return (
        Message(
            "This llama-server divides the context by its slots. So that one request can be {tokens} tokens long, it "
            "answers {slots} at a time and not {asked}.",
            tokens=launch.n_ctx // launch.n_parallel,
            slots=launch.n_parallel,
            asked=request.n_parallel,
        ),
    )


def warnings_of_scaling(
    request: ModelLoadRequest, model: ModelInfo, engine: EngineInfo, n_ctx: int
) -> Iterator[Message]:
    """That a slot will not, or may not, get what was asked for beyond the context that the model was trained with."""
    trained, lifts = model.context_length, lifts_slots(engine)
    if trained is None or lifts or min(n_ctx, slot_limit(request, model) or 0) <= trained:
        return
    if lifts is None:
        yield Message(
            "With YaRN a request can be longer than the {tokens} tokens that the model was trained with only from "
            "llama-server's build {build} on, and this one's is not known.",
            tokens=trained,
            build=FIRST_BUILD_THAT_LIFTS,
        )
        return
    yield Message(
        "This llama-server (build {build}) cuts each request to the {tokens} tokens that the model was trained with: "
        "YaRN lifts that from build {first} on.",
        build=engine.build,
        tokens=trained,
        first=FIRST_BUILD_THAT_LIFTS,
    )


def warnings_of_environment(context: PlanningContext, devices: Sequence[EngineDevice]) -> tuple[Message, ...]:
    """A model that does not fit is to fail where it can be seen, and the estimate is one of the GPU's own memory."""
    if UNIFIED_MEMORY not in context.inherited or not any(device.is_masked for device in devices):
        return ()
    message = Message(
        "{name} is set, and is taken away from the engine: with it, what does not fit on the GPU spills into RAM.",
        name=UNIFIED_MEMORY,
    )
    return (message,)
