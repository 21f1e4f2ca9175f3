"""Why llama-server failed: the lines it says on its way down, and what they mean for a person."""

from __future__ import annotations

import re
from pathlib import Path

from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.text import Message
from launchdeck.engines.common_failures import COMMON_RULES, GPU_FULL, PORT_TAKEN
from launchdeck.engines.failure_rules import Rules, hint, rule
from launchdeck.engines.fixes import AS_MANY_AS_FIT, NO_EXTRA_ARGS, RUN_ON_CPU, fewer_slots

_SMALLER_CACHE = Fix(Message("Store the KV cache as q8_0"), (("cache_type_k", "q8_0"), ("cache_type_v", "q8_0")))
_PLAIN_CACHE = {
    "K": Fix(Message("Store K as f16"), (("cache_type_k", "f16"),)),
    "V": Fix(Message("Store V as f16"), (("cache_type_v", "f16"),)),
}
_NEWER_ENGINE = Message("Use a newer llama-server: install it, or name it in the settings.")
_FETCH_AGAIN = Message("Download the file again.")

_NOT_GGUF = Failure(
    Cause.MODEL_UNUSABLE, Message("The model's file is not a GGUF file."), Message("Choose a file in GGUF format.")
)
_ONLY_A_POINTER = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The model's file is only the pointer that Git LFS left in its place."),
    Message("Download the file itself (git lfs pull)."),
)
_DAMAGED = Failure(Cause.MODEL_UNUSABLE, Message("The model's file is incomplete or damaged."), _FETCH_AGAIN)
_FORMAT_TOO_NEW = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The model's file is GGUF of version {version}, and this engine reads up to {newest}."),
    _NEWER_ENGINE,
)
_FORMAT_TOO_OLD = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The model's file is GGUF of version 1, which no engine reads any more."),
    Message("Download it in today's format."),
)
_BIG_ENDIAN = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The model's file was made for machines of the other byte order."),
    Message("Download one for little-endian machines."),
)
_UNKNOWN_QUANTISATION = Failure(
    Cause.ENGINE_UNSUITED,
    Message("This engine does not know the quantisation of {tensor} (number {type})."),
    _NEWER_ENGINE,
)
_NOT_OPENED = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The engine could not open {path} ({reason})."),
    Message("Check that the file is there and may be read."),
)
_NOT_THE_FIRST_PART = Failure(
    Cause.BAD_REQUEST,
    Message("{path} is one of several files of a model, and not the first."),
    Message("Choose the first one; the others are found by their names."),
)
_UNKNOWN_ARCHITECTURE = Failure(
    Cause.ENGINE_UNSUITED, Message("This engine does not know the architecture {name}."), _NEWER_ENGINE
)
_UNKNOWN_TOKENIZER = Failure(
    Cause.ENGINE_UNSUITED, Message("This engine does not know the tokenizer {name}."), _NEWER_ENGINE
)
_WEIGHTS_TOO_BIG = Failure(
    Cause.OUT_OF_MEMORY,
    Message("The weights do not fit on {device}."),
    Message("Use fewer layers, or free some of its memory."),
    fixes=(AS_MANY_AS_FIT,),
)
_CACHE_TOO_BIG = Failure(
    Cause.OUT_OF_MEMORY,
    Message("There is not enough memory for the KV cache."),
    Message("Use less context, a smaller cache type, or fewer layers."),
    fixes=(_SMALLER_CACHE, AS_MANY_AS_FIT),
)
_COMPUTE_TOO_BIG = Failure(
    Cause.OUT_OF_MEMORY,
    Message("There is not enough memory for the compute buffers."),
    Message("Use fewer layers or less context."),
    fixes=(AS_MANY_AS_FIT,),
)
_NEEDS_FLASH_ATTENTION = Failure(
    Cause.BAD_REQUEST,
    Message("A quantised V cache needs flash attention, which is off or not possible here."),
    Message("Store V as f16."),
    fixes=(_PLAIN_CACHE["V"],),
)
_CACHE_TYPE_UNFIT = Failure(
    Cause.BAD_REQUEST,
    Message("{letter} cannot be stored as {type}: this model's heads of {size} are no multiple of {block}."),
    Message("Store it as f16."),
)
_TOO_MANY_SLOTS = Failure(
    Cause.BAD_REQUEST, Message("This engine has at most {most} slots."), Message("Ask for fewer slots.")
)
_BAD_TEMPLATE = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The model's template for chats cannot be read."),
    Message("Download the file again, in a newer version if there is one, or use a newer llama-server."),
)
_WORKER_UNREACHABLE = Failure(
    Cause.START_FAILED,
    Message("The RPC worker {address} does not answer."),
    Message("Start it, or choose other devices."),
)
_WORKER_LOST = Failure(
    Cause.CRASHED,
    Message("An RPC worker ended while it was used."),
    Message("Start it again, then the model. If it ends again, it may lack memory: use fewer layers or less context."),
)
_NO_SUCH_DEVICE = Failure(
    Cause.ENGINE_UNSUITED,
    Message("This engine has no device {device}."),
    Message("Choose another GPU or engine, or the CPU."),
    fixes=(RUN_ON_CPU,),
)
_UNKNOWN_OPTION = Failure(
    Cause.START_FAILED,
    Message("This engine does not take the option {option}."),
    _NEWER_ENGINE,
    fixes=(NO_EXTRA_ARGS,),
)
_BAD_VALUE = Failure(
    Cause.START_FAILED,
    Message("This engine does not take this value of {option}: {reason}."),
    Message("Change the value, or use a newer llama-server."),
    fixes=(NO_EXTRA_ARGS,),
)
_OTHER_MODEL_ERROR = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The engine could not load the model: {reason}."),
    Message("Download the file again, or try a newer engine."),
)
_OTHER_CONTEXT_ERROR = Failure(
    Cause.START_FAILED,
    Message("The engine could not prepare the model for requests: {reason}."),
    Message("Try other settings, or a newer engine."),
)
_OWN_CHECK = Failure(
    Cause.CRASHED,
    Message("The engine stopped because a check of its own failed ({check})."),
    Message("Start the model again, with other settings or a newer engine if it fails again."),
)
_EXCEPTION = Failure(
    Cause.CRASHED,
    Message("The engine stopped because of an error that it did not expect: {reason}."),
    Message("Start the model again, with other settings or a newer engine if it fails again."),
)


def _first_part(match: re.Match[str]) -> tuple[Fix, ...]:
    first = re.sub(r"-\d{5}(-of-\d{5}\.gguf)$", r"-00001\1", match["path"])
    return (Fix(Message("Choose the first file"), (("model_path", Path(first)),)),)


def _plain_cache(match: re.Match[str]) -> tuple[Fix, ...]:
    return (_PLAIN_CACHE[match["letter"]],)


def _most_slots(match: re.Match[str]) -> tuple[Fix, ...]:
    return (fewer_slots(int(match["most"])),)


RULES = Rules(
    rule(_ONLY_A_POINTER, "invalid magic characters: 'vers'"),
    rule(_NOT_GGUF, "invalid magic characters"),
    rule(_NOT_GGUF, "failed to read magic"),
    rule(
        _FORMAT_TOO_NEW,
        "this GGUF file is version",
        r"is version (?P<version>\d+) but this software only supports up to version (?P<newest>\d+)",
    ),
    rule(_FORMAT_TOO_OLD, "GGUFv1 is no longer supported"),
    rule(_BIG_ENDIAN, "mismatch between the host and model endianness"),
    rule(
        _UNKNOWN_QUANTISATION,
        "has invalid ggml type",
        r"tensor '(?P<tensor>[^']*)' has invalid ggml type (?P<type>\d+)",
    ),
    rule(_DAMAGED, "not within the file bounds"),
    rule(_DAMAGED, "gguf_init", r"gguf_init\w*: failed to read"),
    rule(_NOT_OPENED, "failed to open GGUF", r"failed to open GGUF file '(?P<path>[^']*)' \((?P<reason>.*)\)"),
    rule(
        _NOT_THE_FIRST_PART,
        "illegal split file idx",
        r"illegal split file idx: \d+ \(file: (?P<path>.+)\), model",
        _first_part,
    ),
    rule(_UNKNOWN_ARCHITECTURE, "unknown model arch", r"unknown model architecture: '(?P<name>[^']*)'"),
    rule(_UNKNOWN_TOKENIZER, "unknown pre-tokenizer", r"unknown pre-tokenizer type: '(?P<name>[^']*)'"),
    rule(_UNKNOWN_TOKENIZER, "unknown tokenizer", r"unknown tokenizer: '(?P<name>[^']*)'"),
    rule(_WEIGHTS_TOO_BIG, "unable to allocate", r"unable to allocate (?P<device>\S+) buffer"),
    rule(_CACHE_TOO_BIG, "failed to allocate buffer for kv cache"),
    rule(_COMPUTE_TOO_BIG, "failed to allocate compute"),
    rule(GPU_FULL, "ErrorOutOfDeviceMemory", is_hint=True),
    rule(_NEEDS_FLASH_ATTENTION, "this requires Flash Attention"),
    rule(_NEEDS_FLASH_ATTENTION, "V cache requires flash_attn"),
    rule(_NEEDS_FLASH_ATTENTION, "V cache quantization requires flash_attn"),
    rule(
        _CACHE_TYPE_UNFIT,
        "does not divide n_embd_head",
        r"(?P<letter>[KV]) cache type (?P<type>\w+) with block size (?P<block>\d+) does not divide .*=(?P<size>\d+)",
        _plain_cache,
    ),
    rule(_TOO_MANY_SLOTS, "n_seq_max must be", r"n_seq_max must be <= (?P<most>\d+)", _most_slots),
    rule(_BAD_TEMPLATE, "chat template parsing error"),
    rule(PORT_TAKEN, "couldn't bind HTTP server socket"),
    rule(_WORKER_UNREACHABLE, "Failed to connect to", r"Failed to connect to (?P<address>\S+:\d+)"),
    rule(_WORKER_LOST, "Remote RPC server crashed"),
    *COMMON_RULES,
    # The address is said by the log's own thread, later or, if the process is quick to end, never.
    hint(_WORKER_UNREACHABLE, "invalid device: RPC", r"invalid device: (?P<address>RPC\d+)"),
    hint(_NO_SUCH_DEVICE, "invalid device", r"invalid device: (?P<device>\S+)"),
    rule(_UNKNOWN_OPTION, "invalid argument:", r"error: invalid argument: (?P<option>\S+)"),
    rule(_UNKNOWN_OPTION, "unrecognized arguments", r"error: unrecognized arguments: (?P<option>\S+)"),
    rule(
        _BAD_VALUE,
        "while handling argument",
        r"error while handling argument \"(?P<option>[^\"]+)\": (?P<reason>.*[^.\s])",
    ),
    rule(_BAD_VALUE, "error: argument", r"error: argument (?P<option>[^:]+): (?P<reason>.*[^.\s])"),
    rule(_OTHER_MODEL_ERROR, "error loading model", r"error loading model: (?P<reason>.*[^.\s])"),
    hint(
        _OTHER_CONTEXT_ERROR,
        "failed to initialize the context",
        r"failed to initialize the context: (?P<reason>.*[^.\s])",
    ),
    hint(_OWN_CHECK, "GGML_ASSERT(", r"GGML_ASSERT\((?P<check>.+)\) failed"),
    hint(_EXCEPTION, "what():", r"^\s*what\(\):\s+(?P<reason>.*[^.\s])"),
)
