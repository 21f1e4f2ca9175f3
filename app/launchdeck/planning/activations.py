"""How many numbers a token needs at the most crowded moment within a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.planning.hyperparameters import Hyperparameters


def floats_per_token(hp: Hyperparameters) -> int:
    """The gate, the product with it and their result, what goes past the layer and into it, and the query."""
    return 3 * max(hp.n_ff, default=0) + 2 * hp.n_embd + max(hp.n_head, default=0) * hp.key_length
