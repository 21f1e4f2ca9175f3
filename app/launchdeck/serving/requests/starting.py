"""Starting what is marked "start with Launchdeck": one after the other, each when the one before is ready."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.serving.failures import unexpected

if TYPE_CHECKING:
    from collections.abc import Callable

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.request import ModelLoadRequest
    from launchdeck.serving.manager import ProcessManager

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.1
LOADING_PATIENCE_S: Final = 60.0
READING_PATIENCE_S: Final = 90.0
"""At most a minute lies between two readings of the GPUs."""


async def start_marked(
    manager: ProcessManager,
    refuse: Callable[[LaunchPlan], Failure | None],
    inventory: Callable[[], Inventory | None],
    patience_s: float = LOADING_PATIENCE_S,
) -> list[Failure]:
    """Start what is marked and does not run: each when the one before is ready, has ended or is queued, and at the
    latest after `patience_s`, for one that never gets ready must not hold up the others.

    What `refuse` refuses, because it does not fit into what is free then, is left out. Gives why one was not started.
    """
    failures = []
    for request in manager.start_list.requests:
        if any(d.plan.model_id == request.model_id and d.state.is_live for d in manager.deployments):
            continue
        try:
            deployment = await manager.load(request, only_if=refuse)
            await _until_ready(manager, deployment, inventory, patience_s)
        except LaunchdeckError as error:
            failures.append(_left_out(request, error.failure))
            logger.warning("%s", failures[-1])
        except Exception as error:
            logger.exception("%s could not be started with Launchdeck", request.model_id)
            failures.append(_left_out(request, unexpected(error)))
    return failures


async def _until_ready(
    manager: ProcessManager,
    deployment: Deployment,
    inventory: Callable[[], Inventory | None],
    patience_s: float,
) -> None:
    try:
        async with asyncio.timeout(patience_s):
            while _still_loads(manager, deployment.id):  # noqa: ASYNC110 (a minute at most, with a model to load)
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        name = deployment.plan.model_id
        logger.warning("%s is not ready after %s s: what comes after it starts as well", name, patience_s)
        return
    await _until_counted(manager, deployment.id, inventory)


def _still_loads(manager: ProcessManager, deployment_id: str) -> bool:
    """One that is queued has taken nothing yet, and is planned anew before it does."""
    now = manager.find(deployment_id)
    return now is not None and now.state.status == "loading" and now.queued_because is None


async def _until_counted(
    manager: ProcessManager, deployment_id: str, inventory: Callable[[], Inventory | None]
) -> None:
    """Until a reading of the GPUs knows what it has taken."""
    now = manager.find(deployment_id)
    if now is None or now.ready_at_s is None:
        return
    for _ in range(round(READING_PATIENCE_S / LOOK_S)):
        reading = inventory()
        if reading is None or reading.sampled_at_s > now.ready_at_s:
            return
        await asyncio.sleep(LOOK_S)


def _left_out(request: ModelLoadRequest, why: Failure) -> Failure:
    message = Message("{name} does not start with Launchdeck: {reason}", name=request.model_id, reason=why.message)
    advice = Message("Stop something else, then deploy it.") if why.cause is Cause.OUT_OF_MEMORY else why.advice
    return replace(why, message=message, advice=advice)
