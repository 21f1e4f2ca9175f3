"""Deployments and failures as JSON documents: what the API sends and `launchdeck status --json` prints.

Memory is in bytes, times are Unix seconds, and null means that nobody can tell (yet).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from launchdeck.domain.deployment import Applied, Deployment, State
from launchdeck.domain.errors import Failure, Fix
from launchdeck.engines.document import estimate_document
from launchdeck.engines.registry import engine_of
from launchdeck.serving.records.codec import to_json


def dumps(document: Any) -> bytes:
    """Compact JSON. What is no text (a byte in a file's name) is escaped, which JSON reads as it was."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def models_document(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The document of loading-status."""
    return {"models": list(entries)}


def deployment_document(
    deployment: Deployment,
    api_key: str | None = None,
    *,
    cpu_index: int | None = None,
    starts_with_launchdeck: bool = False,
) -> dict[str, Any]:
    """One entry of loading-status. `cpu_index` is the CPU's place in the GPU list, which it has only without GPUs.

    Places are those of now: `gpu_indices` and `lost_gpus` leave out what has none, `gpu_index` is null for it.
    """
    plan = deployment.plan
    gpus = [gpu for gpu in plan.gpus if gpu.is_identified]
    places = [deployment.place_of(gpu) for gpu in plan.gpus]
    lost = [deployment.place_of(gpu) for gpu in deployment.lost]
    return {
        "id": deployment.id,
        "model_id": plan.model_id,
        "model_path": str(plan.request.model_path),
        "status": deployment.state.status,
        "state": str(deployment.state),
        "backend": engine_of(plan.engine.kind).backend,
        "engine": str(plan.engine.kind),
        "port": plan.port,
        "url": plan.url,
        "api_key": api_key,
        "server_type": str(plan.request.server_type),
        "gpu_index": places[0] if places else cpu_index,
        "gpu_indices": [place for place in places if place is not None],
        "gpu_uuids": [gpu.uuid for gpu in gpus],
        "n_gpu_layers": plan.layers.resolved,
        "context_length": plan.n_ctx,
        "progress": 1.0 if deployment.state is State.RUNNING else deployment.progress,
        "stage": deployment.stage,
        "queued_because": None if deployment.queued_because is None else str(deployment.queued_because),
        "applied": _applied(deployment.applied),
        "predicted": estimate_document(plan.estimate),
        "measured": _measured(deployment),
        "lost_gpus": [place for place in lost if place is not None],
        "lost_gpu_uuids": list(deployment.lost_gpus),
        "starts_with_launchdeck": starts_with_launchdeck,
        "error": None if deployment.failure is None else failure_document(deployment.failure),
    }


def failure_document(failure: Failure) -> dict[str, Any]:
    """What happened, what to do, the lines that prove it, and changed requests that would help."""
    return {
        "cause": str(failure.cause),
        "message": str(failure.message),
        "advice": None if failure.advice is None else str(failure.advice),
        "evidence": list(failure.evidence),
        "fixes": [{"label": str(fix.label), "changes": _changes(fix)} for fix in failure.fixes],
    }


def _changes(fix: Fix) -> dict[str, Any]:
    """What to put into the body that was sent. It may have named its GPUs by their places, which have to give way."""
    changes = {name: to_json(value) for name, value in fix.changes}
    return {**changes, "gpu_index": None, "gpu_indices": None} if "gpu_uuids" in changes else changes


def _applied(applied: Applied) -> dict[str, Any]:
    """What the engine says it did; a buffer of a kind the engine did not mention counts 0."""
    devices = dict.fromkeys(buffer.device for buffer in applied.buffers)
    return {
        "layers_offloaded": applied.layers_offloaded,
        "layers_total": applied.layers_total,
        "n_ctx": applied.n_ctx,
        "n_ctx_slot": applied.n_ctx_slot,
        "n_slots": applied.n_slots,
        "flash_attention": applied.flash_attention,
        "devices": [
            {
                "device": device,
                "weights_bytes": applied.device_bytes(device, "weights"),
                "kv_bytes": applied.device_bytes(device, "kv"),
                "compute_bytes": applied.device_bytes(device, "compute"),
            }
            for device in devices
        ],
    }


def _measured(deployment: Deployment) -> dict[str, Any]:
    ready_at_s = deployment.ready_at_s
    return {
        "vram_bytes": deployment.vram_bytes,
        "rss_bytes": deployment.rss_bytes,
        "created_at_s": round(deployment.created_at_s, 3),
        "ready_at_s": None if ready_at_s is None else round(ready_at_s, 3),
        "loading_s": None if ready_at_s is None else round(ready_at_s - deployment.created_at_s, 3),
    }
