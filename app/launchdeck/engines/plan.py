"""From a request to a launch: pure arithmetic on what is known of the model and of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuReading
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.choose import Choice, candidates, choose, for_recorded_machine, is_recommended, suits
from launchdeck.engines.context import PlanningContext
from launchdeck.engines.devices.devices import Machine, engine_devices
from launchdeck.engines.devices.targets import target_gpus
from launchdeck.engines.llama.checks import check_request
from launchdeck.engines.llama.plan import Layout, plan_llama
from launchdeck.engines.vllm.plan import plan_vllm
from launchdeck.planning.vllm.memory import VllmMemory


def plan_launch(request: ModelLoadRequest, context: PlanningContext, port: int) -> LaunchPlan:
    """The launch that this request means on this machine.

    Raises:
        LaunchdeckError: it cannot be carried out; the failure says why, what to do, and offers it where possible.
    """
    check_request(request, context.model)
    if context.memory is None:
        raise LaunchdeckError.of(
            Cause.MODEL_UNUSABLE, Message("The header of {name} is not known.", name=context.model.name)
        )
    machine = Machine.of(context.inventory.gpus, context.orders)
    readings = _targets(request, context, machine)
    choice = _choice(request, readings, context, machine)
    if isinstance(context.memory, VllmMemory):
        return plan_vllm(request, context, context.memory, readings if request.n_gpu_layers != 0 else (), choice, port)
    devices = engine_devices(choice.engine, readings, request.rpc_workers, machine)
    return plan_llama(request, context, context.memory, Layout(choice, readings, devices), port)


def _targets(request: ModelLoadRequest, context: PlanningContext, machine: Machine) -> tuple[GpuReading, ...]:
    if request.gpu_uuids is None and request.n_gpu_layers == 0:
        return ()
    engines = candidates(request, context.model, context.engines, is_recorded=context.inventory.replayed)

    def can(gpu: Gpu) -> bool:
        return any(suits(engine, request, (gpu,), machine) for engine in engines)

    def should(gpu: Gpu) -> bool:
        return can(gpu) and any(is_recommended(engine, context.model, gpu) for engine in engines)

    # Where the rules are against every GPU, the reason is told for the one that would have been taken.
    return target_gpus(request, context.inventory, should) or target_gpus(request, context.inventory, can)


def _choice(
    request: ModelLoadRequest, readings: Sequence[GpuReading], context: PlanningContext, machine: Machine
) -> Choice:
    if context.inventory.replayed:
        return for_recorded_machine(request, context.model, [reading.gpu for reading in readings], context.engines)
    if request.n_gpu_layers == 0:  # then the devices are only looked at, and any engine will do
        return choose(replace(request, rpc_workers=()), context.model, (), context.engines)
    return choose(request, context.model, [reading.gpu for reading in readings], context.engines, machine)
