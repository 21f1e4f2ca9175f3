"""What is decided before an engine makes its plan: which one, on which devices, and what the rules say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launchdeck.domain.errors import Failure
from launchdeck.domain.gpu import GpuReading
from launchdeck.domain.plan import EngineInfo
from launchdeck.domain.text import Message
from launchdeck.engines.devices.devices import Machine


@dataclass(frozen=True, slots=True)
class Advice:
    """What a family's rules say of a model on certain devices.

    `is_for`: it is the better family there, "because" of `reason`, and `against` are clauses that speak for another;
    otherwise `reason` is the clause that speaks for another, and `against` those for this one. `is_preference`: no more
    than that speaks against it, so that it is taken where nothing better is there.
    """

    is_for: bool
    reason: Message
    against: tuple[Message, ...] = ()
    is_preference: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """`reasons` are clauses that go on after "because"; `other` are the engines that could do it as well.

    `blocker` says why a plan for this engine can be shown and not be started. `for_others` are clauses that speak for
    the other family of engines. `warnings` are to be told with the plan.
    """

    engine: EngineInfo
    reasons: tuple[Message, ...]
    other: tuple[EngineInfo, ...] = ()
    blocker: Failure | None = None
    for_others: tuple[Message, ...] = ()
    warnings: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a launch goes: the engine that was chosen, and the GPUs of this machine that it is for (none: the CPU)."""

    choice: Choice
    readings: Sequence[GpuReading]
    machine: Machine
