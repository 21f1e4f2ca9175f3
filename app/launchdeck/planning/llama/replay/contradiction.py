"""What is told of a header whose tensors and keys do not make a model of its architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launchdeck.domain.text import Message
from launchdeck.models.errors import AGAIN, unusable

if TYPE_CHECKING:
    from launchdeck.domain.errors import LaunchdeckError


def lacks(tensor: str) -> LaunchdeckError:
    """Make a layer's error for weights ("attn_qkv.weight") that its other weights are nothing without."""
    return unusable(Message("The model is incomplete: a layer lacks its weights {tensor}.", tensor=tensor), AGAIN)


def misshapen(tensor: str) -> LaunchdeckError:
    """Make a layer's error for weights with which nothing can be computed."""
    return unusable(
        Message("The model's header contradicts itself: its weights {tensor} cannot have this shape.", tensor=tensor),
        AGAIN,
    )


def disjointed() -> LaunchdeckError:
    """Make the error of layers of which one computes with what none before it makes."""
    return unusable(Message("The model is incomplete: its layers do not fit together."), AGAIN)
