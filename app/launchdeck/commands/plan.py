"""`launchdeck plan MODEL`: what a launch would do, without doing it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from launchdeck.commands.model_name import model_path
from launchdeck.commands.output import print_json, print_line
from launchdeck.commands.table import print_table
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import DeviceEstimate, LaunchPlan
from launchdeck.domain.request import (
    DEFAULT_SLOT_COUNT,
    BackendChoice,
    FlashAttention,
    ModelLoadRequest,
)
from launchdeck.domain.units import GIB
from launchdeck.engines.document import command_line, plan_document
from launchdeck.engines.find import find_engines
from launchdeck.engines.planner import Planner
from launchdeck.engines.registry import adapters
from launchdeck.files.apart import NoAnswerError, call_apart
from launchdeck.hardware.named import uuids_of
from launchdeck.hardware.opening import open_source
from launchdeck.hardware.source import ONCE
from launchdeck.models.describe import inspect
from launchdeck.models.errors import silent
from launchdeck.models.library import PATIENCE_S
from launchdeck.serving import direct
from launchdeck.serving.port_table import PortTable
from launchdeck.serving.ports import no_port
from launchdeck.settings.paths import Paths
from launchdeck.settings.store import SettingsStore


def run(options: argparse.Namespace) -> int:
    """Print the plan; a request that cannot be carried out ends with its reason and exit status 1."""
    paths = Paths.resolve()
    settings = SettingsStore(paths.settings_file).settings
    request = request_from(options, model_path(options.model, settings, paths))
    planner = Planner(lambda: settings, paths)
    source = open_source(settings.detection, getattr(options, "inventory", None), patience=ONCE)
    try:
        inventory = planner.inventory = source.read()
    finally:
        source.close()
    for deployment in asyncio.run(direct.status(paths, adapters())):
        planner.on_deployment(deployment)  # what it will still take is not free
    planner.engines = find_engines(settings, paths).engines
    port = PortTable(paths.runtime).suggest(settings.ports)
    if port is None:
        raise no_port(settings.ports)
    if request.gpu_uuids is not None:
        request = replace(request, gpu_uuids=uuids_of(request.gpu_uuids, inventory))
    plan = planner.plan(request, port)
    if options.json:
        print_json(plan_document(plan))
    else:
        _print(plan)
    return 0


def request_from(options: argparse.Namespace, path: Path) -> ModelLoadRequest:
    """The request that the options of `plan` (and `deploy`) make for the model at `path`; GPUs have the names that were
    typed.
    """
    return ModelLoadRequest(
        model_path=path,
        server_type=ServerType(options.serve) if options.serve else _natural_server_type(path),
        gpu_uuids=options.gpu.gpus if options.gpu else None,
        rpc_workers=options.gpu.rpc_workers if options.gpu else (),
        n_gpu_layers=options.layers,
        n_ctx=options.ctx,
        n_parallel=DEFAULT_SLOT_COUNT if options.parallel is None else options.parallel,
        cache_type_k=options.cache_type_k,
        cache_type_v=options.cache_type_v,
        backend=BackendChoice(options.backend),
        flash_attention=FlashAttention(options.flash_attn),
        split=options.split,
        n_threads=options.threads,
        n_batch=options.batch_size,
        n_ubatch=options.ubatch_size,
        n_cpu_moe=options.n_cpu_moe,
        extra_args=options.extra_args,
        cache_ram_mib=options.cache_ram,
    )


def _natural_server_type(path: Path) -> ServerType:
    try:
        known = call_apart(lambda: inspect(path).server_types, PATIENCE_S)
    except NoAnswerError as error:
        raise silent(error) from error
    return known[0] if known else ServerType.LLM


def _print(plan: LaunchPlan) -> None:
    print_line(f"{plan.model.name} on {', '.join(plan.device_names) or 'the CPU'}, {plan.engine.kind}")
    for reason in plan.reasons:
        print_line(f"  because {reason}")
    for clause in plan.for_others:
        print_line(f"  but {clause}")
    fitting = plan.layers.largest_that_fits
    print_line(
        f"layers {plan.layers.resolved} of {plan.layers.total}"
        + ("" if fitting is None else f", at most {fitting} fit")
        + f"; context {plan.n_ctx:,}; port {plan.port}"
    )
    header = ("GiB", "weights", "KV", "compute", "overhead", "total", "free", "")
    print_table(
        header, [_row(device) for device in (*plan.estimate.devices, plan.estimate.host)], right=frozenset(range(1, 7))
    )
    for note in _memory_notes(plan):
        print_line(f"note: {note}")
    for warning in (plan.blocker, *plan.warnings):
        if warning is not None:
            print_line(f"note: {warning}")
    print_line(command_line(plan))


def _memory_notes(plan: LaunchPlan) -> Iterator[str]:
    """What the table cannot say: free memory that is promised, and a cache that fills with time."""
    for device in (*plan.estimate.devices, plan.estimate.host):
        if device.promises:
            names = ", ".join(dict.fromkeys(promise.model_id for promise in device.promises))
            yield f"{_gib(device.promised_bytes)} GiB more are free on {device.device}, promised to {names}"
    if cache_bytes := plan.estimate.host.overhead_bytes:
        yield f"up to {_gib(cache_bytes)} GiB of the host's are for prompts that are kept, in time"


def _row(device: DeviceEstimate) -> tuple[str, ...]:
    parts = (device.weights_bytes, device.kv_bytes, device.compute_bytes, device.overhead_bytes, device.total_bytes)
    free = "-" if device.free_bytes is None else _gib(device.free_bytes)
    verdict = {True: "fits", False: "does not fit", None: "not known"}[device.fits]
    return (device.device, *map(_gib, parts), free, verdict)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f}"
