"""From a request to a launch: pure arithmetic on what is known of the model and of this machine."""

from __future__ import annotations

from dataclasses import replace

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.choice import Target
from launchdeck.engines.choose import candidates, choose, for_recorded_machine
from launchdeck.engines.context import PlanningContext
from launchdeck.engines.devices.devices import Machine
from launchdeck.engines.devices.targets import target_gpus
from launchdeck.engines.llama.checks import check_request
from launchdeck.engines.registry import engine_for
from launchdeck.engines.suitability import Suitability


def plan_launch(request: ModelLoadRequest, context: PlanningContext, port: int) -> LaunchPlan:
    """The launch that this request means on this machine.

    Raises:
        LaunchdeckError: it cannot be carried out; the failure says why, what to do, and offers it where possible.
    """
    check_request(request, context.model, shares_context=engine_for(context.model).shares_context)
    if context.memory is None:
        raise LaunchdeckError.of(
            Cause.MODEL_UNUSABLE, Message("The header of {name} is not known.", name=context.model.name)
        )
    machine = Machine.of(context.inventory.gpus, context.orders)
    is_recorded = context.inventory.replayed
    # Without layers on a device the devices are only looked at, and any engine will do.
    on_cpu = request.n_gpu_layers == 0 and not is_recorded
    asked = replace(request, rpc_workers=()) if on_cpu else request
    table = Suitability(asked, context.model, context.engines, machine)
    readings = _targets(request, context, table)
    gpus = [] if on_cpu else [reading.gpu for reading in readings]
    choice = for_recorded_machine(table, gpus) if is_recorded else choose(table, gpus)
    return table.family.plan(request, context, Target(choice, readings, machine), port)


def _targets(request: ModelLoadRequest, context: PlanningContext, table: Suitability) -> tuple[GpuReading, ...]:
    if request.gpu_uuids is None and request.n_gpu_layers == 0:
        return ()
    engines = candidates(table, is_recorded=context.inventory.replayed)

    def can(gpu: Gpu) -> bool:
        return any(table.cell(engine, (gpu,)).can for engine in engines)

    def should(gpu: Gpu) -> bool:
        return can(gpu) and any(table.cell(engine, (gpu,)).advice.is_for for engine in engines)

    # Where the rules are against every GPU, the reason is told for the one that would have been taken.
    return target_gpus(request, context.inventory, should) or target_gpus(request, context.inventory, can)
