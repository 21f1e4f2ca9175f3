"""Which engine, and why. Never the CPU in silence: an engine that cannot use the chosen GPU is refused, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from launchdeck.domain.errors import Cause, Failure, Fix, LaunchdeckError
from launchdeck.domain.gpu import Gpu
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.request import BackendChoice
from launchdeck.domain.text import Message
from launchdeck.engines.choice import Advice, Choice
from launchdeck.engines.devices.devices import lists_vendor_of
from launchdeck.engines.devices.masking import VULKAN_MASK
from launchdeck.engines.fixes import RUN_ON_CPU
from launchdeck.engines.suitability import Suitability


def choose(table: Suitability, gpus: Sequence[Gpu]) -> Choice:
    """The engine for this model on these GPUs (none: the CPU).

    Raises:
        LaunchdeckError: no engine can do it, or not the one that was asked for.
    """
    _check_backend(table)
    if table.request.engine_id is not None:
        return _chosen_by_id(table, gpus)
    able = [engine for engine in table.engines if table.cell(engine, gpus).is_possible]
    if able:
        return _choice(table, gpus, able[0], tuple(able[1:]))
    failure = _why_none(table, gpus, table.engines)
    advice = table.advise_family(gpus)
    if not advice.is_for and not advice.is_preference:
        failure = _unsuited(table, advice) or failure
    if table.request.backend is not BackendChoice.AUTO:
        return replace(_choice(table, gpus, table.family.anyone), blocker=failure)
    raise LaunchdeckError(failure)


def candidates(table: Suitability, *, is_recorded: bool) -> Sequence[EngineInfo]:
    """The engines that could be meant, before it is known on which GPUs."""
    anyone = (table.family.anyone,)
    if is_recorded:
        return anyone
    if table.request.engine_id is not None:
        return [engine for engine in table.all_engines if engine.id == table.request.engine_id]
    return table.engines or anyone


def for_recorded_machine(table: Suitability, gpus: Sequence[Gpu]) -> Choice:
    """This machine's engines say nothing about the machine whose inventory was recorded, the rules do; only that an
    engine asked for by name is missing here has to be said.

    Raises:
        LaunchdeckError: the rules are against the only engine that reads this format, and nobody named it.
    """
    _check_backend(table)
    anyone = table.family.anyone
    advice = table.cell(anyone, gpus).advice
    is_named = table.request.backend is not BackendChoice.AUTO
    is_here = any(table.cell(engine, gpus).can for engine in table.engines)
    blocker = Failure(
        Cause.ENGINE_UNSUITED,
        Message("This is a recorded machine: nothing can be started on it."),
        Message("Start Launchdeck without --inventory."),
    )
    if gpus and not advice.is_for:
        blocker = _unsuited(table, advice) or blocker
        if not is_named:
            raise LaunchdeckError(blocker)
    warnings = (_why_none(table, gpus, table.engines).message,) if is_named and not is_here else ()
    return replace(_choice(table, gpus, anyone), blocker=blocker, warnings=warnings)


def _check_backend(table: Suitability) -> None:
    backend = table.request.backend
    if backend is BackendChoice.AUTO or str(backend) == table.family.backend:
        return
    raise LaunchdeckError(
        Failure(
            Cause.ENGINE_UNSUITED,
            Message("{backend} cannot serve {format} models.", backend=str(backend), format=str(table.model.format)),
            Message("Leave the choice of the engine to Launchdeck."),
            fixes=(Fix(Message("Choose the engine automatically"), (("backend", BackendChoice.AUTO),)),),
        )
    )


def _chosen_by_id(table: Suitability, gpus: Sequence[Gpu]) -> Choice:
    engines, wanted = table.all_engines, table.request.engine_id
    engine = next((engine for engine in engines if engine.id == wanted), None)
    if engine is None:
        raise LaunchdeckError(
            Failure(
                Cause.ENGINE_MISSING,
                Message("There is no engine {id} on this machine.", id=wanted),
                Message("There are: {ids}.", ids=", ".join(engine.id for engine in engines) or "-"),
                fixes=(Fix(Message("Choose the engine automatically"), (("engine_id", None),)),),
            )
        )
    if engine not in table.engines:
        raise LaunchdeckError(_why_none(table, gpus, ()))
    if not table.cell(engine, gpus).can:
        raise LaunchdeckError(_why_none(table, gpus, (engine,)))
    return Choice(engine, (Message("you chose it"),), tuple(other for other in engines if other is not engine))


def _choice(table: Suitability, gpus: Sequence[Gpu], engine: EngineInfo, other: tuple[EngineInfo, ...] = ()) -> Choice:
    """This engine, with the reasons for its family; where the rules prefer another one, that speaks for it."""
    advice = table.cell(engine, gpus).advice
    if advice.is_for:
        reasons, for_others = [advice.reason], advice.against
    else:
        reasons, for_others = [*advice.against], (advice.reason,)
    if table.request.backend is not BackendChoice.AUTO:
        reasons = [Message("you chose {backend}", backend=str(table.request.backend))]
    came_along = table.family.words.came_along.get(engine.kind)
    if came_along is not None and engine.path is None:
        reasons.append(came_along)
    return Choice(engine, tuple(reasons), other, for_others=for_others)


def _unsuited(table: Suitability, advice: Advice) -> Failure | None:
    """The failure where the rules would have another family serve this model."""
    failure = table.family.words.unsuited
    if failure is None:
        return None
    message = Message(failure.message.template, name=table.model.name, reason=advice.reason)
    return replace(failure, message=message)


def _why_none(table: Suitability, gpus: Sequence[Gpu], fitting: Sequence[EngineInfo]) -> Failure:
    """The failure where none of these engines of the family can do it."""
    words = table.family.words
    if not fitting:
        return Failure(
            Cause.ENGINE_MISSING,
            Message("No engine for this model was found ({backend}).", backend=table.family.backend),
            words.how_to_install,
        )
    if not any(table.knows_workers(engine) for engine in fitting):
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message("No engine found here can use RPC workers ({names}).", names=_names(fitting)),
            Message("Name a llama-server built with RPC in the settings, or choose other devices."),
            fixes=(RUN_ON_CPU,),
        )
    if not gpus and words.not_on_cpu is not None:
        return words.not_on_cpu
    unusable = next((gpu for gpu in gpus if not any(table.cell(engine, (gpu,)).can for engine in fitting)), None)
    if unusable is None:  # each GPU has an engine, but none has all
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message("No engine can use all of {gpus} together.", gpus=", ".join(gpu.name for gpu in gpus)),
            Message("Choose GPUs of one vendor."),
        )
    return _why_not_on(table, unusable, fitting)


def _why_not_on(table: Suitability, gpu: Gpu, fitting: Sequence[EngineInfo]) -> Failure:
    """The failure where none of these engines can use this GPU."""
    words = table.family.words
    advice = words.how_to_get.get(gpu.gpu_type, words.how_to_get_any)
    unclear = next((engine for engine in fitting if lists_vendor_of(engine, gpu)), None)
    if any(table.is_hidden(engine, gpu) for engine in fitting):
        advice = Message(
            "{mask} hides GPUs from engines built for Vulkan: choose another GPU, or start Launchdeck without it.",
            mask=VULKAN_MASK,
        )
    elif unclear is not None:
        return Failure(
            Cause.ENGINE_UNSUITED,
            Message(
                "{engine} lists {devices}: which of them GPU {index} ({gpu}) is cannot be told.",
                engine=str(unclear.kind),
                devices=", ".join(device.name for device in lists_vendor_of(unclear, gpu)),
                index=gpu.index,
                gpu=gpu.name,
            ),
            Message("Choose another GPU, another engine, or the CPU."),
            fixes=(RUN_ON_CPU,),
        )
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("No engine found here can use {gpu} ({names}).", gpu=gpu.name, names=_names(fitting)),
        advice,
        fixes=(RUN_ON_CPU,),
    )


def _names(engines: Sequence[EngineInfo]) -> str:
    return ", ".join(str(engine.kind) for engine in engines)
