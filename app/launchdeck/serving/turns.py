"""Whose turn it is to start. vLLM takes its share by what is free before and after its own weights are there, so two of
them that start on one GPU would measure each other: the later one is queued. Each engine says whether it does so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from launchdeck.domain.deployment import State
from launchdeck.domain.text import Message
from launchdeck.engines.registry import engine_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable
    from typing import Any

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.gpu import Inventory
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.serving.launches import Launches

# A vLLM that ends gives memory back, and another one that measures meanwhile takes that for a mistake.
_BUSY: Final = frozenset({State.STARTING, State.LOADING, State.STOPPING})


def why_not_yet(deployment: Deployment, all_of_them: Iterable[Deployment]) -> Message | None:
    """What this launch has to wait for; None: it may start."""
    if not engine_of(deployment.plan.engine.kind).measures_free_memory:
        return None
    mine = _uuids(deployment)
    for other in all_of_them:
        shared = mine & _uuids(other)
        if shared and other.id != deployment.id and _is_ahead(other, deployment):
            return _reason(other, deployment, shared)
    return None


def _is_ahead(other: Deployment, deployment: Deployment) -> bool:
    if not engine_of(other.plan.engine.kind).measures_free_memory:
        return False
    is_earlier = (other.created_at_s, other.id) < (deployment.created_at_s, deployment.id)
    return other.state in _BUSY or (other.state is State.QUEUED and other.queued_because is not None and is_earlier)


def _uuids(deployment: Deployment) -> set[str]:
    return {gpu.uuid for gpu in deployment.plan.gpus}


def _reason(other: Deployment, deployment: Deployment, shared: Collection[str]) -> Message:
    """It names the first of the GPUs that both use."""
    gpus = [gpu for gpu in deployment.plan.gpus if gpu.uuid in shared]
    places = [place for gpu in gpus if (place := deployment.place_of(gpu)) is not None]
    index = min(places, default=gpus[0].index)
    if other.state is State.STOPPING:
        return Message(
            "waits until {name} has ended on GPU {index}: vLLM measures the memory when it starts",
            name=other.plan.model_id,
            index=index,
        )
    return Message(
        "waits until {name} has started on GPU {index}: two vLLM starts on one GPU would measure each other",
        name=other.plan.model_id,
        index=index,
    )


class LatestReading:
    """When the GPUs were read last; lives in one event loop."""

    def __init__(self) -> None:
        self._sampled_at_s = 0.0
        self._has_come = asyncio.Event()

    def note(self, inventory: Inventory) -> None:
        self._sampled_at_s = inventory.sampled_at_s
        self._has_come.set()

    async def after(self, at_s: float, patience_s: float) -> bool:
        """Wait for one that is from later than `at_s` (Unix seconds); False: none has come."""
        try:
            async with asyncio.timeout(patience_s):
                while self._sampled_at_s <= at_s:
                    self._has_come.clear()
                    await self._has_come.wait()
        except TimeoutError:
            return False
        return True


class Turn:
    """One model's waiting for its turn; lives in one event loop. `stop_asked` ends the waiting."""

    def __init__(self, launches: Launches, stop_asked: asyncio.Event) -> None:
        self._launches = launches
        self._stop_asked = stop_asked
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Look again: something has changed."""
        self._stirred.set()

    async def plan(self, deployment: Callable[[], Deployment], queue: Callable[[Message], None]) -> LaunchPlan | None:
        """Wait, and plan anew as soon as it may start; `queue` is called with every reason to wait.

        Returns:
            None where it was stopped.

        Raises:
            LaunchdeckError: what the new plan refuses.
        """
        plan = None
        while not self._stop_asked.is_set():
            self._stirred.clear()
            reason = self._launches.why_not_yet(deployment())
            if reason is not None:
                plan = None
                queue(reason)
                await self._stirred.wait()
            elif plan is not None:
                return plan
            else:
                plan = await self._unless_stopped(self._launches.plan_in_turn(deployment()))
        return None

    async def _unless_stopped(self, planning: Coroutine[Any, Any, LaunchPlan]) -> LaunchPlan | None:
        task = asyncio.create_task(planning)
        stop = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return None if self._stop_asked.is_set() else task.result()
        finally:
            task.cancel()
            stop.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)
