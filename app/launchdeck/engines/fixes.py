"""Offers that several failures make."""

from __future__ import annotations

from launchdeck.domain.errors import Fix
from launchdeck.domain.text import Message

AS_MANY_AS_FIT = Fix(Message("Use as many layers as fit"), (("n_gpu_layers", None),))
RUN_ON_CPU = Fix(Message("Run on the CPU"), (("gpu_indices", ()), ("rpc_workers", ()), ("n_gpu_layers", 0)))
SPLIT_BY_FREE_MEMORY = Fix(Message("Split by free memory"), (("split", None),))
