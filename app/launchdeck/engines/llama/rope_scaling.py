"""A context beyond the one that a model was trained with: what an expert's own arguments make of it.

llama-server cuts each slot to the training context. From build 10754 (llama.cpp#28030) YaRN lifts that, and no other
way to scale does; older builds cut there as well: see findings/yarn-lifts-the-cap-of-a-slot.sh.
"""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Final

from launchdeck.domain.model import ModelFormat

if TYPE_CHECKING:
    from launchdeck.domain.model import ModelInfo
    from launchdeck.domain.plan import EngineInfo
    from launchdeck.domain.request import ModelLoadRequest

FIRST_BUILD_THAT_LIFTS: Final = 10754
_MOST_TOKENS: Final = (1 << 31) - 1


def slot_limit(request: ModelLoadRequest, model: ModelInfo) -> int | None:
    """The most tokens that a slot can be asked for, None where the model tells no limit: what it was trained with, or
    what YaRN makes of that where the engine lets it.
    """
    trained, scaled = model.context_length, _with_yarn(request, model)
    return trained if trained is None or scaled is None else max(trained, scaled)


def slot_tokens(request: ModelLoadRequest, model: ModelInfo, engine: EngineInfo) -> int | None:
    """The most tokens that a slot of this engine really has; of an engine whose build is not known, that it may have.
    None where the model tells no limit.
    """
    lifts = lifts_slots(engine)
    if lifts is None:
        return slot_limit(request, model)
    return (_with_yarn(request, model) if lifts else None) or model.context_length


def _with_yarn(request: ModelLoadRequest, model: ModelInfo) -> int | None:
    """None where YaRN is not asked for. It may be less than the model was trained with: measured with build 11434, it
    is the original context times the scale in any case.
    """
    trained = model.context_length
    words = dict(pairwise(request.extra_args))  # of several, the last counts
    if trained is None or model.format is not ModelFormat.GGUF or words.get("--rope-scaling") != "yarn":
        return None
    scale = _number(words.get("--rope-scale")) or 1 / (_number(words.get("--rope-freq-scale")) or 1.0)
    original = _number(words.get("--yarn-orig-ctx")) or trained
    return max(int(min(original * scale, _MOST_TOKENS)), 1)


def lifts_slots(engine: EngineInfo) -> bool | None:
    """Whether slots of this llama-server can be as long as `slot_limit` says; None: its build is not known."""
    return None if engine.build is None else engine.build >= FIRST_BUILD_THAT_LIFTS


def _number(word: str | None) -> float | None:
    """A positive number; None where it is none."""
    try:
        number = float(word or "")
    except ValueError:
        return None
    return number if isfinite(number) and number > 0 else None
