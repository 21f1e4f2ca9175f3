"""Words and offers that several places have in common."""

from __future__ import annotations

from launchdeck.domain.errors import Fix
from launchdeck.domain.text import Message

AS_MANY_AS_FIT = Fix(Message("Use as many layers as fit"), (("n_gpu_layers", None),))
NO_EXTRA_ARGS = Fix(Message("Leave out the extra arguments"), (("extra_args", ()),))
NO_ENGINE_FOR_GPUS = Message("No engine found here can use this machine's GPUs: the model will run on the CPU.")
RUN_ON_CPU = Fix(Message("Run on the CPU"), (("gpu_uuids", ()), ("rpc_workers", ()), ("n_gpu_layers", 0)))
SPLIT_BY_FREE_MEMORY = Fix(Message("Split by free memory"), (("split", None),))


def fewer_slots(count: int) -> Fix:
    """Answer at most this many requests at a time."""
    if count <= 1:
        return Fix(Message("Answer one request at a time"), (("n_parallel", 1),))
    return Fix(Message("Answer {count} requests at a time", count=count), (("n_parallel", count),))


def shorter_context(n_ctx: int) -> Fix:
    """Hold at most this many tokens."""
    return Fix(Message("Use a context of {limit}", limit=n_ctx), (("n_ctx", n_ctx),))
