"""How a manager starts what is supervised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.domain.deployment import Deployment
    from launchdeck.domain.errors import Failure
    from launchdeck.domain.plan import LaunchPlan
    from launchdeck.domain.text import Message
    from launchdeck.serving.records.records import ShimStatus
    from launchdeck.serving.shim.processes import Process


class Launches(Protocol):
    """What a supervisor may ask for. What gives a path or a plan raises LaunchdeckError."""

    def why_not_yet(self, deployment: Deployment) -> Message | None:
        """Say what its launch has to wait for; None: nothing."""

    async def plan_in_turn(self, deployment: Deployment) -> LaunchPlan:
        """Plan the same launch once more, now that it is its turn: what is free has changed meanwhile."""

    async def start(self, deployment: Deployment, api_key: str | None) -> Path:
        """Start its shim and give its socket; what an earlier launch left on disk is gone."""

    async def plan_on_next_port(self, deployment: Deployment) -> LaunchPlan:
        """Plan the same launch once more: its port went to another program."""

    def clear(self, status: ShimStatus, sessions: frozenset[int]) -> list[Process]:
        """Leave nothing of what a shim that died had, and give back what would not die. Blocks."""

    def recorded(self, deployment_id: str) -> ShimStatus | None:
        """Give what its shim has written down; None where there is nothing that can be read. Blocks."""

    def suggest_port(self) -> int | None:
        """Give one that is free."""

    def advise(self, plan: LaunchPlan, failure: Failure) -> Failure:
        """Give the failure with what would help in numbers. Any thread."""
