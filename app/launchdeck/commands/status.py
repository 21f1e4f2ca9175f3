"""`launchdeck status`: what runs, asked of the models' own supervisors, so it needs no running application."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from launchdeck.commands.output import print_json, print_line, print_table
from launchdeck.domain.deployment import Deployment
from launchdeck.engines.registry import adapters
from launchdeck.serving import direct
from launchdeck.settings.paths import Paths


def run(options: argparse.Namespace) -> int:
    """Print every deployment on record, oldest first."""
    deployments = asyncio.run(direct.status(Paths.resolve(), adapters()))
    if options.json:
        print_json({"models": [to_document(deployment) for deployment in deployments]})
    elif deployments:
        print_table(("ID", "Model", "State", "Engine", "URL", "Layers", "Context"), [_row(d) for d in deployments])
    else:
        print_line("Nothing runs.")
    return 0


def to_document(deployment: Deployment) -> dict[str, Any]:
    """One model as the HTTP interface's loading-status has it, without its key."""
    plan = deployment.plan
    return {
        "id": deployment.id,
        "model_id": plan.model_id,
        "status": deployment.state.status,
        "state": str(deployment.state),
        "backend": str(plan.backend),
        "engine": str(plan.engine.kind),
        "port": plan.port,
        "url": plan.url,
        "gpu_index": next(iter(plan.request.gpu_indices or ()), None),
        "n_gpu_layers": plan.layers.resolved,
        "context_length": plan.n_ctx,
        "server_type": str(plan.request.server_type),
        "error": None if deployment.failure is None else str(deployment.failure),
    }


def _row(deployment: Deployment) -> tuple[str, ...]:
    plan = deployment.plan
    return (
        deployment.id,
        plan.model_id,
        str(deployment.state),
        str(plan.engine.kind),
        plan.url,
        f"{plan.layers.resolved}/{plan.layers.total}",
        f"{plan.n_ctx:,}",
    )
