"""Why vLLM failed: the lines it says on its way down, and what they mean for a person."""

from __future__ import annotations

import re

from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.text import Message
from launchdeck.engines.adapter import Findings
from launchdeck.engines.failure_rules import GPU_RULES, FailureRule, apply_rules
from launchdeck.engines.fixes import AS_MANY_AS_FIT

_ONE_SLOT = Fix(Message("Answer one request at a time"), (("n_parallel", 1),))
_NEWER_ENGINE = Message("Use a newer vLLM, or take the model as a GGUF file with llama-server.")


def read_failure_line(findings: Findings, line: str) -> Findings:
    """The findings with the failure that this line tells of.

    "Engine core initialization failed" and its like only say that another process had a reason: no rule knows them.
    """
    return apply_rules(_RULES, findings, line)


def _too_little_free(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message(
            "Only {free} of {total} GiB are free, less than the {wanted} GiB that vLLM was to use.",
            free=match["free"],
            total=match["total"],
            wanted=match["wanted"],
        ),
        Message("Stop what else uses this memory, or try again: the share is then sized to what is free."),
        fixes=(Fix(Message("Size it to what is free now"), (("n_gpu_layers", None),)),),
    )


def _context_too_long(match: re.Match[str]) -> Failure:
    estimated = match["estimated"]
    shorter: tuple[Fix, ...] = ()
    if estimated:
        n_ctx = int(estimated)
        shorter = (Fix(Message("Use a context of {limit}", limit=n_ctx), (("n_ctx", n_ctx),)),)
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message(
            "A context of {n_ctx} tokens needs {needed} GiB of KV cache, and there are {available} GiB for it.",
            n_ctx=match["n_ctx"],
            needed=match["needed"],
            available=match["available"],
        ),
        Message("Use less context, or free some of the memory."),
        fixes=(*shorter, AS_MANY_AS_FIT),
    )


def _no_room_for_cache(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message("There is not enough memory for the KV cache."),
        Message("Use less context or fewer layers, or stop what else runs there."),
        fixes=(AS_MANY_AS_FIT, _ONE_SLOT),
    )


def _gpu_out_of_memory(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message("The GPU ran out of memory."),
        Message("Use fewer layers or less context, or stop what else runs there."),
        fixes=(AS_MANY_AS_FIT, _ONE_SLOT),
    )


def _no_bfloat16(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("This GPU cannot compute in bfloat16."),
        Message("Choose a GPU of compute capability 8.0 or newer, or start again: older ones get half precision."),
    )


def _unknown_architecture(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("This engine does not know the architecture {name}.", name=match["name"]),
        _NEWER_ENGINE,
    )


def _heads_not_divisible(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.BAD_REQUEST,
        Message(
            "The model's {heads} attention heads cannot be divided among {gpus} GPUs.",
            heads=match["heads"],
            gpus=match["gpus"],
        ),
        Message("Choose another number of GPUs."),
    )


def _longer_than_model(match: re.Match[str]) -> Failure:
    limit = int(match["limit"])
    return Failure(
        Cause.BAD_REQUEST,
        Message("A context of {asked} tokens is more than this model takes.", asked=match["asked"]),
        Message("Ask for at most {limit}.", limit=limit),
        fixes=(Fix(Message("Use a context of {limit}", limit=limit), (("n_ctx", limit),)),),
    )


def _damaged(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.MODEL_UNUSABLE,
        Message("The model's file is incomplete or damaged."),
        Message("Download the file again."),
    )


def _port_taken(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.PORT_TAKEN,
        Message("The port was taken by another program."),
        Message("Try again: another port will be used."),
    )


def _bad_option(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.START_FAILED,
        Message("This engine does not take the option {option}.", option=match["option"]),
        Message("Use a newer vLLM: install it, or name it in the settings."),
    )


def _not_installed(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.ENGINE_MISSING,
        Message("vLLM's installation is not complete: {module} is missing.", module=match["module"]),
        Message("Install vLLM again, in an environment of its own."),
    )


_NEEDED = (
    r"max seq len \((?P<n_ctx>\d+)\), \(?(?P<needed>[\d.]+) GiB KV cache is needed.*?"
    r"memory \((?P<available>[\d.]+) GiB\)(?:.*?maximum model length is (?P<estimated>\d+))?"
)
_LONGER = r"max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len \([^)=]*=(?P<limit>\d+)"
_FREE = r"\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired .*?, (?P<wanted>[\d.]+) GiB\)"
# In this order: what is more exact comes before what is more general.
_RULES = tuple(
    FailureRule(needle, re.compile(pattern), failure)
    for needle, pattern, failure in (
        ("on startup is less than desired", _FREE, _too_little_free),
        ("To serve at least one request", _NEEDED, _context_too_long),
        ("No available memory for the cache blocks", r"", _no_room_for_cache),
        ("out of memory", r"OutOfMemoryError|(?:CUDA|HIP) out of memory|(?:CUDA|HIP) error: out of memory",
         _gpu_out_of_memory),
        *GPU_RULES,
        ("Failed to load model - not enough GPU memory", r"", _gpu_out_of_memory),
        ("Bfloat16 is only supported", r"", _no_bfloat16),
        ("are not supported for now", r"Model architectures \[?'?(?P<name>[\w.-]+)", _unknown_architecture),
        ("not supported anymore", r"Model architecture (?P<name>\w+) was supported", _unknown_architecture),
        ("does not recognize this architecture", r"model type `(?P<name>[^`]+)`", _unknown_architecture),
        ("must be divisible by tensor parallel size",
         r"heads \((?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<gpus>\d+)\)", _heads_not_divisible),
        ("greater than the derived max_model_len", _LONGER, _longer_than_model),
        ("SafetensorError", r"", _damaged),
        ("Address already in use", r"", _port_taken),
        ("unrecognized arguments", r"unrecognized arguments: (?P<option>\S+)", _bad_option),
        ("ModuleNotFoundError", r"No module named '(?P<module>[^']+)'", _not_installed),
    )
)  # fmt: skip
