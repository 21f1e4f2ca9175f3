"""Arguments of an expert's own: which ones may be passed on to llama-server, and how many values each takes.

Only these. Left out is whatever opens a door (host, port, keys, paths, tools, templates from files), what we state
ourselves, and what moves memory behind the estimate's back.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.engines.fixes import NO_EXTRA_ARGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SWITCHES = frozenset({
    "--check-tensors", "--context-shift", "--ignore-eos", "--jinja", "--mlock", "--no-cache-prompt",
    "--no-context-shift", "--no-jinja", "--no-mmap", "--no-prefill-assistant", "--no-slots", "--no-warmup", "--special",
    "--spm-infill",
})  # fmt: skip
_WITH_VALUE = frozenset({
    "--cache-ram", "--cache-reuse", "--checkpoint-min-step", "--cpu-mask", "--cpu-range", "--cpu-strict",
    "--ctx-checkpoints", "--dry-allowed-length", "--dry-base", "--dry-multiplier", "--dry-penalty-last-n",
    "--embd-normalize", "--frequency-penalty", "--keep", "--load-mode", "--min-p", "--mirostat", "--mirostat-ent",
    "--mirostat-lr", "--n-predict", "--numa", "--poll", "--presence-penalty", "--prio", "--reasoning",
    "--reasoning-budget", "--reasoning-effort", "--reasoning-format", "--repeat-last-n", "--repeat-penalty",
    "--rope-freq-base", "--rope-freq-scale", "--rope-scale", "--rope-scaling", "--samplers", "--seed",
    "--slot-prompt-similarity", "--temp", "--threads-batch", "--threads-http", "--timeout", "--top-k", "--top-p",
    "--typical", "--xtc-probability", "--xtc-threshold", "--yarn-attn-factor", "--yarn-beta-fast", "--yarn-beta-slow",
    "--yarn-ext-factor", "--yarn-orig-ctx",
})  # fmt: skip
_MAPPING_MODES = frozenset({"auto", "mmap", "mmap+mlock"})
ALLOWED = {**dict.fromkeys(_SWITCHES, 0), **dict.fromkeys(_WITH_VALUE, 1)}


def maps_file(words: Sequence[str]) -> bool:
    """Whether llama-server maps the model's file with these arguments, so that its weights in RAM are the file's pages;
    else it reads a copy.
    """
    modes = {value for flag, value in pairwise(words) if flag == "--load-mode"}
    return "--no-mmap" not in words and modes <= _MAPPING_MODES


def options(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Each flag with its value.

    Raises:
        LaunchdeckError: a word that may not be passed on, a value that begins with "-", or one that is missing.
    """
    rest = list(words)
    while rest:
        flag = rest.pop(0)
        if flag not in ALLOWED:
            raise _refusal(
                Message("{word} cannot be an extra argument.", word=flag),
                Message("These can: {names}.", names=", ".join(sorted(ALLOWED))),
            )
        values = rest[: ALLOWED[flag]]
        if len(values) < ALLOWED[flag] or any(value.startswith("-") for value in values):
            raise _refusal(
                Message("The extra argument {flag} needs a value that does not begin with '-'.", flag=flag),
                Message("Write the value after it, or leave it out."),
            )
        del rest[: len(values)]
        yield (flag, *values)


def _refusal(message: Message, advice: Message) -> LaunchdeckError:
    return LaunchdeckError(Failure(Cause.BAD_REQUEST, message, advice, fixes=(NO_EXTRA_ARGS,)))
