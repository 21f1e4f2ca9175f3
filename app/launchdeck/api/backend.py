"""What the HTTP interface stands on: the planner and the manager of every other door, and the news of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from launchdeck.api.documents import deployment_document, dumps, failure_document, models_document
from launchdeck.api.streams import Channel
from launchdeck.domain.deployment import Deployment, State
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.hardware.document import to_document

if TYPE_CHECKING:
    from launchdeck.domain.gpu import Inventory
    from launchdeck.engines.planner import Planner
    from launchdeck.serving.manager import ProcessManager
    from launchdeck.settings.setup import Setup

KEPT_SAMPLES: Final = 16
KEPT_EVENTS: Final = 256
STATUS_INTERVAL_S: Final = 0.1
FIRST_LOOK_TIMEOUT_S: Final = 30.0

HandOver = Callable[[], Awaitable[bool]]


class Backend:
    """Lives in the application's event loop. `gpus`, `status` and `events` are what the streams read from."""

    def __init__(
        self,
        setup: Setup,
        planner: Planner,
        manager: ProcessManager,
        *,
        hand_over: HandOver,
    ) -> None:
        self.setup = setup
        self.planner = planner
        self.manager = manager
        self.hand_over = hand_over
        self.closing = asyncio.Event()
        self.gpus = Channel(kept=KEPT_SAMPLES)
        self.status = Channel(kept=0)
        self.events = Channel(kept=KEPT_EVENTS)
        self.gpus_document: bytes | None = None
        self._is_promise_old = False
        self._states: dict[str, State] = {d.id: d.state for d in manager.deployments}
        self._status_changed = asyncio.Event()
        self._telling = asyncio.create_task(self._tell_status())
        self._unsubscribe = (manager.subscribe(self._on_deployment), manager.subscribe_forgotten(self._on_forgotten))

    def on_inventory(self, inventory: Inventory) -> None:
        """A new reading of all devices; the planner has it already, and knows what of it is promised."""
        self._is_promise_old = False
        self.gpus_document = dumps(to_document(self.planner.inventory or inventory))
        self.gpus.publish(self.gpus_document)

    def current_gpus_document(self) -> bytes | None:
        """The latest one, with what was promised since."""
        inventory = self.planner.inventory
        if self._is_promise_old and self.gpus_document is not None and inventory is not None:
            self.gpus_document = dumps(to_document(inventory))
        self._is_promise_old = False
        return self.gpus_document

    def close(self) -> None:
        """End every stream. May be called again."""
        if self.closing.is_set():
            return
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._telling.cancel()
        self.closing.set()

    def find(self, name: str) -> Deployment:
        """By its id or its model's name. Raises LaunchdeckError."""
        deployment = self.manager.named(name)
        if deployment is None:
            raise LaunchdeckError.of(
                Cause.NOT_FOUND,
                Message("There is no model {name}.", name=name),
                Message("loading-status lists those there are."),
            )
        return deployment

    def document(self, deployment: Deployment) -> dict[str, Any]:
        inventory = self.planner.inventory
        cpu_index = None if inventory is None or inventory.gpus else inventory.cpu.gpu.index
        return deployment_document(
            deployment,
            self.manager.api_key(deployment.id),
            cpu_index=cpu_index,
            starts_with_launchdeck=deployment.plan.model_id in self.manager.start_list,
        )

    def status_document(self) -> bytes:
        """Everything but what was stopped."""
        listed = (d for d in self.manager.deployments if d.state is not State.STOPPED)
        return dumps(models_document(map(self.document, listed)))

    async def known_inventory(self) -> Inventory:
        """The latest reading; right after the start, wait for the first one and for the engines.

        Raises:
            LaunchdeckError: they take too long.
        """
        try:
            async with asyncio.timeout(FIRST_LOOK_TIMEOUT_S):
                await self.planner.known.wait()
        except TimeoutError:
            raise LaunchdeckError.of(
                Cause.NOT_READY,
                Message("This machine's GPUs and engines are still being looked for."),
                Message("Try again in a moment."),
            ) from None
        inventory = self.planner.inventory
        assert inventory is not None  # noqa: S101 (for the type checker: it is known)
        return inventory

    def _on_deployment(self, deployment: Deployment) -> None:
        self._status_changed.set()
        before = self._states.get(deployment.id)
        if before is deployment.state:
            return
        self._states[deployment.id] = deployment.state
        self._is_promise_old = True
        failure = deployment.failure
        self.events.publish(
            dumps(
                {
                    "at_s": round(time.time(), 3),
                    "id": deployment.id,
                    "model_id": deployment.plan.model_id,
                    "state": str(deployment.state),
                    "status": deployment.state.status,
                    "error": None if failure is None else failure_document(failure),
                }
            )
        )

    def _on_forgotten(self, deployment: Deployment) -> None:
        self._states.pop(deployment.id, None)
        self._status_changed.set()

    async def _tell_status(self) -> None:
        """However much changes, the document goes out a few times a second."""
        while True:
            await self._status_changed.wait()
            self._status_changed.clear()
            if self.status.reader_count:
                self.status.publish(self.status_document())
            await asyncio.sleep(STATUS_INTERVAL_S)
