"""Words and offers that several places have in common."""

from __future__ import annotations

from launchdeck.domain.errors import Fix
from launchdeck.domain.text import Message

AS_MANY_AS_FIT = Fix(Message("Use as many layers as fit"), (("n_gpu_layers", None),))
NO_ENGINE_FOR_GPUS = Message("No engine found here can use this machine's GPUs: the model will run on the CPU.")
RUN_ON_CPU = Fix(Message("Run on the CPU"), (("gpu_indices", ()), ("rpc_workers", ()), ("n_gpu_layers", 0)))
SPLIT_BY_FREE_MEMORY = Fix(Message("Split by free memory"), (("split", None),))
