"""One model from its start to its end, on a certain engine: what the self test and the test of an engine do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.naming import device_name
from launchdeck.serving import client

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.serving.manager import ProcessManager

QUESTION = "What is the capital of France? Answer in one short sentence."
CONTEXT_TOKENS = 2048
ANSWER_TOKENS = 64
READY_DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. `devices` are the GPUs that the model was on, by their names; none for the CPU."""

    answer: str
    ready_after_s: float
    devices: tuple[str, ...]


async def try_engine(manager: ProcessManager, engine_id: str, model: Path) -> Trial:
    """Deploy this small model on this engine, where the planner places it; ask, stop, and leave nothing behind.

    Raises:
        LaunchdeckError: it does not start, does not answer or does not stop.
    """
    started_s = time.monotonic()
    deployment = await manager.load(ModelLoadRequest(model_path=model, n_ctx=CONTEXT_TOKENS, engine_id=engine_id))
    try:
        running = await until_running(manager, deployment.id)
        ready_after_s = time.monotonic() - started_s
        answer = await ask(manager, deployment.id)
    finally:
        await manager.stop(deployment.id)
        manager.dismiss(deployment.id)  # also where it failed: nobody could start it again, its model is a passing one
    devices = (device_name(running.plan, place) for place in range(len(running.plan.device_names)))
    return Trial(answer, ready_after_s, tuple(devices))


async def until_running(manager: ProcessManager, deployment_id: str) -> Deployment:
    """Wait for it; a deployment that is not waited for any longer is stopped.

    Raises:
        LaunchdeckError: it failed, or takes longer than READY_DEADLINE_S.
    """
    changed = asyncio.Event()
    unsubscribe = manager.subscribe(lambda _deployment: changed.set())
    try:
        async with asyncio.timeout(READY_DEADLINE_S):
            while True:
                deployment = manager.deployment(deployment_id)
                if deployment.state is State.RUNNING:
                    return deployment
                if not deployment.state.is_live:
                    raise LaunchdeckError(deployment.failure or _ended_early())
                changed.clear()
                await changed.wait()
    except TimeoutError:
        await manager.stop(deployment_id)
        raise LaunchdeckError.of(
            Cause.STALLED, Message("The model was not ready after {seconds} s.", seconds=READY_DEADLINE_S)
        ) from None
    except asyncio.CancelledError:
        await manager.stop(deployment_id)
        raise
    finally:
        unsubscribe()


async def ask(manager: ProcessManager, deployment_id: str) -> str:
    """The answer to QUESTION. Raises LaunchdeckError: there is none."""
    plan = manager.deployment(deployment_id).plan
    question = [{"role": "user", "content": QUESTION}]
    key = manager.api_key(deployment_id)
    chunks = client.chat(plan.url, key, plan.model_id, question, max_tokens=ANSWER_TOKENS, temperature=0)
    answer = "".join([chunk.text async for chunk in chunks]).strip()
    if not answer:
        raise LaunchdeckError.of(Cause.START_FAILED, Message("The model runs, but its answer is empty."))
    return answer


def _ended_early() -> Failure:
    return Failure(Cause.CRASHED, Message("The model ended before it was ready."))
