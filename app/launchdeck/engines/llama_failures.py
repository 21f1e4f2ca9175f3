"""Why llama-server failed: the lines it says on its way down, and what they mean for a person."""

from __future__ import annotations

import re

from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.text import Message
from launchdeck.engines.adapter import Findings
from launchdeck.engines.failure_rules import GPU_RULES, FailureRule, apply_rules
from launchdeck.engines.fixes import AS_MANY_AS_FIT, RUN_ON_CPU

_SMALLER_CACHE = Fix(Message("Store the KV cache as q8_0"), (("cache_type_k", "q8_0"), ("cache_type_v", "q8_0")))
_PLAIN_V_CACHE = Fix(Message("Store V as f16"), (("cache_type_v", "f16"),))
_NEWER_ENGINE = Message("Use a newer llama-server: install it, or name it in the settings.")
_FETCH_AGAIN = Message("Download the file again.")


def read_failure_line(findings: Findings, line: str) -> Findings:
    """The findings with the failure that this line tells of."""
    return apply_rules(_RULES, findings, line)


def _not_gguf(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.MODEL_UNUSABLE, Message("The model's file is not a GGUF file."), Message("Choose a file in GGUF format.")
    )


def _damaged(_match: re.Match[str]) -> Failure:
    return Failure(Cause.MODEL_UNUSABLE, Message("The model's file is incomplete or damaged."), _FETCH_AGAIN)


def _not_opened(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.MODEL_UNUSABLE,
        Message("The engine could not open {path} ({reason}).", path=match["path"], reason=match["reason"] or "?"),
        Message("Check that the file is there and may be read."),
    )


def _unknown_architecture(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("This engine does not know the architecture {name}.", name=match["name"]),
        _NEWER_ENGINE,
    )


def _weights_too_big(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message("The weights do not fit on {device}.", device=match["device"]),
        Message("Use fewer layers, or free some of its memory."),
        fixes=(AS_MANY_AS_FIT,),
    )


def _cache_too_big(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message("There is not enough memory for the KV cache."),
        Message("Use less context, a smaller cache type, or fewer layers."),
        fixes=(_SMALLER_CACHE, AS_MANY_AS_FIT),
    )


def _compute_too_big(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message("There is not enough memory for the compute buffers."),
        Message("Use fewer layers or less context."),
        fixes=(AS_MANY_AS_FIT,),
    )


def _gpu_out_of_memory(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.OUT_OF_MEMORY,
        Message("The GPU ran out of memory."),
        Message("Use fewer layers or less context, or stop what else runs there."),
        fixes=(AS_MANY_AS_FIT,),
    )


def _gpu_not_built_for(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("This engine was not built for this GPU."),
        Message("Use an engine built for it, or the CPU."),
        fixes=(RUN_ON_CPU,),
    )


def _needs_flash_attention(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.BAD_REQUEST,
        Message("A quantised V cache needs flash attention, which is off or not possible here."),
        Message("Store V as f16."),
        fixes=(_PLAIN_V_CACHE,),
    )


def _port_taken(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.PORT_TAKEN,
        Message("The port was taken by another program."),
        Message("Try again: another port will be used."),
    )


def _worker_unreachable(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.START_FAILED,
        Message("The RPC worker {address} does not answer.", address=match["address"]),
        Message("Start it, or choose other devices."),
    )


def _worker_lost(_match: re.Match[str]) -> Failure:
    return Failure(
        Cause.CRASHED, Message("An RPC worker ended while it was used."), Message("Start it again, then the model.")
    )


def _no_such_device(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.ENGINE_UNSUITED,
        Message("This engine has no device {device}.", device=match["device"]),
        Message("Choose another GPU or engine, or the CPU."),
        fixes=(RUN_ON_CPU,),
    )


def _bad_option(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.START_FAILED,
        Message("This engine does not take the option {option}.", option=match["option"]),
        _NEWER_ENGINE,
    )


def _other_model_error(match: re.Match[str]) -> Failure:
    return Failure(
        Cause.MODEL_UNUSABLE,
        Message("The engine could not load the model: {reason}.", reason=match["reason"].strip().rstrip(".")),
        Message("Download the file again, or try a newer engine."),
    )


# In this order: what is more exact comes before what is more general.
_RULES = tuple(
    FailureRule(needle, re.compile(pattern), failure)
    for needle, pattern, failure in (
        ("magic", r"invalid magic characters|failed to read magic", _not_gguf),
        ("not within the file bounds", r"", _damaged),
        ("gguf_init", r"failed to read (?:key-value pairs|tensor|header|the GGUF)", _damaged),
        ("failed to open GGUF", r"failed to open GGUF file '(?P<path>[^']*)'(?: \((?P<reason>.*)\))?", _not_opened),
        ("unknown model arch", r"unknown model architecture: '(?P<name>[^']*)'", _unknown_architecture),
        ("unable to allocate", r"unable to allocate (?P<device>\S+) buffer", _weights_too_big),
        ("for kv cache", r"failed to allocate buffer for kv cache", _cache_too_big),
        ("failed to allocate compute", r"", _compute_too_big),
        ("requires", r"(?i)(?:quantized v cache|v cache quantization).*requires flash", _needs_flash_attention),
        ("couldn't bind", r"couldn't bind HTTP server socket", _port_taken),
        ("Failed to connect to", r"Failed to connect to (?P<address>\S+:\d+)", _worker_unreachable),
        ("Remote RPC server crashed", r"", _worker_lost),
        ("error: out of memory", r"(?:CUDA|ROCm|HIP) error: out of memory", _gpu_out_of_memory),
        *GPU_RULES,
        ("no kernel image", r"no kernel image is available", _gpu_not_built_for),
        # The address is said by the log's own thread, and the process may end before that has written it.
        ("invalid device: RPC", r"invalid device: (?P<address>RPC\d+)", _worker_unreachable),
        ("invalid device", r"invalid device: (?P<device>\S+)", _no_such_device),
        ("argument", r"(?:invalid|unknown) argument: (?P<option>\S+)", _bad_option),
        ("unrecognized arguments", r"unrecognized arguments: (?P<option>\S+)", _bad_option),
        ("while handling argument", r"error while handling argument \"(?P<option>[^\"]+)\"", _bad_option),
        ("error loading model", r"error loading model: (?P<reason>.+)", _other_model_error),
    )
)
