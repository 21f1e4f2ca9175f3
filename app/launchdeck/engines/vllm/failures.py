"""Why vLLM failed: the lines it says on its way down, and what they mean for a person."""

from __future__ import annotations

import re

from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.text import Message
from launchdeck.engines.common_failures import COMMON_RULES, PORT_TAKEN, RAM_FULL
from launchdeck.engines.failure_rules import Rules, hint, rule
from launchdeck.engines.fixes import AS_MANY_AS_FIT, RUN_ON_CPU, fewer_slots, shorter_context

_NEWER_ENGINE = Message("Use a newer vLLM, or take the model as a GGUF file with llama-server.")
_FETCH_AGAIN = Message("Download the file again.")
_FETCH_ALL_AGAIN = Message("Download the model again, all its files, or try a newer vLLM.")

_TOO_LITTLE_FREE = Failure(
    Cause.OUT_OF_MEMORY,
    Message("Only {free} of {total} GiB are free, less than the {wanted} GiB that vLLM was to use."),
    Message("Stop what else uses this memory, or try again: the share is then sized to what is free."),
    fixes=(Fix(Message("Size it to what is free now"), (("n_gpu_layers", None),)),),
)
_CONTEXT_TOO_LONG = Failure(
    Cause.OUT_OF_MEMORY,
    Message("A context of {n_ctx} tokens needs {needed} GiB of KV cache, and there are {available} GiB for it."),
    Message("Use less context, or free some of the memory."),
    fixes=(AS_MANY_AS_FIT,),
)
_NO_ROOM_FOR_CACHE = Failure(
    Cause.OUT_OF_MEMORY,
    Message("There is not enough memory for the KV cache."),
    Message("Use less context or fewer layers, or stop what else runs there."),
    fixes=(AS_MANY_AS_FIT, fewer_slots(1)),
)
_WEIGHTS_TOO_BIG = Failure(
    Cause.OUT_OF_MEMORY,
    Message("The weights do not fit on the GPU."),
    Message("Use fewer layers, more GPUs or a quantised model, or stop what else runs there."),
    fixes=(AS_MANY_AS_FIT,),
)
_GPU_FULL_IN_NUMBERS = Failure(
    Cause.OUT_OF_MEMORY,
    Message("The GPU ran out of memory while {stage}: {wanted} more were needed, and {free} of {total} were free."),
    Message("Use fewer layers or less context, or stop what else runs there."),
    fixes=(AS_MANY_AS_FIT, fewer_slots(1)),
)
_NO_ROOM_FOR_SLOTS = Failure(
    Cause.OUT_OF_MEMORY,
    Message("The GPU ran out of memory with {count} requests at a time."),
    Message("Answer fewer requests at a time, or use fewer layers."),
    fixes=(AS_MANY_AS_FIT,),
)
_MEMORY_CHANGED = Failure(
    Cause.START_FAILED,
    Message("Another program freed GPU memory while vLLM measured it ({before} GiB free, then {after} GiB)."),
    Message("Start the model again."),
)
_NO_BFLOAT16 = Failure(
    Cause.ENGINE_UNSUITED,
    Message("{gpu} cannot compute in bfloat16."),
    Message("Choose a GPU of compute capability 8.0 or newer, or start again: older ones get half precision."),
)
_UNKNOWN_ARCHITECTURE = Failure(
    Cause.ENGINE_UNSUITED, Message("This engine does not know the architecture {name}."), _NEWER_ENGINE
)
_GIVEN_UP_ARCHITECTURE = Failure(
    Cause.ENGINE_UNSUITED,
    Message("This vLLM does not know the architecture {name} any more; {version} did."),
    Message("Use that vLLM, or take the model as a GGUF file with llama-server."),
)
_UNKNOWN_QUANTISATION = Failure(
    Cause.ENGINE_UNSUITED, Message("This vLLM does not know the quantisation {name}."), _NEWER_ENGINE
)
_GPU_TOO_OLD_FOR_QUANTISATION = Failure(
    Cause.ENGINE_UNSUITED,
    Message(
        "The model's quantisation needs compute capability {major}.{minor}, and this GPU has {has_major}.{has_minor}."
    ),
    Message("Choose a newer GPU or another quantisation, or take the model as a GGUF file with llama-server."),
)
_OWN_CODE = Failure(
    Cause.ENGINE_UNSUITED,
    Message("This model brings program code of its own, and Launchdeck does not let models run theirs."),
    _NEWER_ENGINE,
)
_HEADS_NOT_DIVISIBLE = Failure(
    Cause.BAD_REQUEST,
    Message("The model's {heads} attention heads cannot be divided among {gpus} GPUs."),
    Message("Choose another number of GPUs."),
)
_LONGER_THAN_MODEL = Failure(
    Cause.BAD_REQUEST,
    Message("A context of {asked} tokens is more than this model takes."),
    Message("Ask for at most {limit}."),
)
_DAMAGED = Failure(Cause.MODEL_UNUSABLE, Message("The model's file is incomplete or damaged."), _FETCH_AGAIN)
_NOT_OPENED = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The engine could not open {path}."),
    Message("Check that the file is there and may be read."),
)
_WRONG_SHAPE = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The model's weights do not have the shapes that its config.json tells."),
    _FETCH_ALL_AGAIN,
)
_UNEXPECTED_WEIGHTS = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The model's files hold {name}, which {architecture} has no place for."),
    _FETCH_ALL_AGAIN,
)
_MISSING_WEIGHTS = Failure(Cause.MODEL_UNUSABLE, Message("The model's files lack {names}."), _FETCH_ALL_AGAIN)
_NO_WEIGHTS = Failure(Cause.MODEL_UNUSABLE, Message("The model's folder holds no weights."), _FETCH_ALL_AGAIN)
_NO_CONFIG = Failure(Cause.MODEL_UNUSABLE, Message("The model's folder holds no config.json."), _FETCH_ALL_AGAIN)
_BAD_CONFIG = Failure(Cause.MODEL_UNUSABLE, Message("{path} cannot be read."), _FETCH_ALL_AGAIN)
_NO_TOKENIZER = Failure(
    Cause.MODEL_UNUSABLE,
    Message("The model's folder holds no tokenizer that vLLM can read."),
    Message("Download the model again with its tokenizer.json and tokenizer_config.json, or try a newer vLLM."),
)
_GATED = Failure(
    Cause.MODEL_UNUSABLE,
    Message("A part of this model is on the hub, for which its makers ask to be agreed with first."),
    Message("Agree to their terms there and download the whole model with your token."),
)
_HUB_UNREACHABLE = Failure(
    Cause.MODEL_UNUSABLE,
    Message("A part of this model is on the hub, which cannot be reached."),
    Message("Download the whole model first, or connect this machine."),
)
_NO_DEVICE = Failure(
    Cause.ENGINE_UNSUITED,
    Message("vLLM finds no device that it was built for."),
    Message("See that the GPU's driver is loaded, or install the vLLM for this kind of device."),
)
_NO_GPU = Failure(
    Cause.GPU_LOST,
    Message("The engine finds no GPU."),
    Message(
        "See that the driver is loaded and that this user may use the GPU (a container has to be given it), or run on "
        "the CPU."
    ),
    fixes=(RUN_ON_CPU,),
)
_SHARED_MEMORY_FULL = Failure(
    Cause.DISK_FULL,
    Message("There is too little room in /dev/shm: {free} MiB are free, and {wanted} MiB are needed."),
    Message("Give it more room (in a container: --shm-size, or --ipc=host)."),
)
_GPUS_CANNOT_TALK = Failure(
    Cause.CRASHED,
    Message("The GPUs could not talk to each other (NCCL: {reason})."),
    Message("Start the model again; if it fails again, use one GPU, or set NCCL_DEBUG=INFO to be told more."),
)
_NO_COMPILER = Failure(
    Cause.ENGINE_MISSING,
    Message("vLLM needs a C++ compiler, and there is none."),
    Message("Install one: the package g++ or gcc-c++."),
)
_NO_C_COMPILER = Failure(
    Cause.ENGINE_MISSING,
    Message("vLLM needs a C compiler, and there is none."),
    Message("Install one: the package gcc."),
)
_NO_PYTHON_HEADERS = Failure(
    Cause.ENGINE_MISSING,
    Message("vLLM needs the header files of its Python, and they are not there."),
    Message("Install them: the package python3-dev or python3-devel."),
)
_UNKNOWN_OPTION = Failure(
    Cause.START_FAILED,
    Message("This engine does not take the option {option}."),
    Message("Use a newer vLLM: install it, or name it in the settings."),
)
_BAD_VALUE = Failure(
    Cause.START_FAILED,
    Message("This engine does not take this value of {option}: {reason}."),
    Message("Change the value, or use a newer vLLM."),
)
_REFUSED = Failure(
    Cause.START_FAILED,
    Message("vLLM refuses this launch: {reason}."),
    Message("Change what it names, or use a newer vLLM."),
)
_PART_DIED = Failure(
    Cause.CRASHED,
    Message("A process of vLLM ({name}) ended, and the model with it."),
    Message(
        "If its last lines name no error, the machine may have been out of memory: free some, or use less context or a "
        "smaller model."
    ),
)


def _longest_context(match: re.Match[str]) -> tuple[Fix, ...]:
    return (shorter_context(int(match["limit"])),)


def _longest_that_fits(match: re.Match[str]) -> tuple[Fix, ...]:
    return (*_longest_context(match), AS_MANY_AS_FIT)


def _half_the_slots(match: re.Match[str]) -> tuple[Fix, ...]:
    return (fewer_slots(int(match["count"]) // 2), AS_MANY_AS_FIT)


_NEEDED = (
    r"max seq len \((?P<n_ctx>\d+)\), \(?(?P<needed>[\d.]+) GiB KV cache is needed.*?"
    r"memory \((?P<available>[\d.]+) GiB\)"
)
_FREE = r"\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired .*?, (?P<wanted>[\d.]+) GiB\)"
_FULL = (
    r"out of memory\. Tried to allocate (?P<wanted>[\d.]+ \w+)\. GPU \d+ has a total capacity of (?P<total>[\d.]+ \w+) "
    r"of which (?P<free>[\d.]+ \w+) is free"
)
_LONGER = r"max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len \([^)=]*=(?P<limit>\d+)"
_HEADS = r"heads \((?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<gpus>\d+)\)"
# 75 is 7.5, and 100 is 10.0.
_CAPABILITIES = r"capability: (?P<major>\d+)(?P<minor>\d)\. .*Current capability: (?P<has_major>\d+)(?P<has_minor>\d)"
# In this order: what is more exact comes before what is more general. A traceback shows the program's text, too, where
# the values are still {names}: they are no match. "Engine core initialization failed" and its like only say that
# another process had a reason: no rule knows them.
RULES = Rules(
    rule(_TOO_LITTLE_FREE, "on startup is less than desired", _FREE),
    rule(
        _CONTEXT_TOO_LONG,
        "estimated maximum model length",
        _NEEDED + r".*maximum model length is (?P<limit>\d+)",
        _longest_that_fits,
    ),
    rule(_CONTEXT_TOO_LONG, "To serve at least one request", _NEEDED),
    rule(_NO_ROOM_FOR_CACHE, "No available memory for the cache blocks"),
    rule(_WEIGHTS_TOO_BIG, "Failed to load model - not enough GPU memory"),
    rule(
        _NO_ROOM_FOR_SLOTS,
        "warming up sampler",
        r"warming up sampler with (?P<count>\d+) dummy requests",
        _half_the_slots,
    ),
    hint(_GPU_FULL_IN_NUMBERS, "out of memory. Tried to allocate", _FULL),
    rule(RAM_FULL, "DefaultCPUAllocator: can't allocate memory"),
    rule(
        _MEMORY_CHANGED,
        "Error in memory profiling",
        r"Initial free memory (?P<before>[\d.]+) GiB, current free memory (?P<after>[\d.]+) GiB",
    ),
    rule(
        _SHARED_MEMORY_FULL,
        "Insufficient space in /dev/shm",
        r"/dev/shm for .*: (?P<wanted>\d+) MiB required, (?P<free>\d+) MiB free",  # noqa: S108 (nothing is put there)
    ),
    hint(_GPUS_CANNOT_TALK, "NCCL error", r"NCCL error.*(?P<reason>unhandled \w+ error)"),
    *COMMON_RULES,
    rule(
        _NO_BFLOAT16,
        "Bfloat16 is only supported",
        r"Bfloat16 is only supported .* Your (?P<gpu>.+?) GPU has compute capability",
    ),
    rule(_UNKNOWN_ARCHITECTURE, "are not supported for now", r"Model architectures \['(?P<name>[\w.-]+)'"),
    rule(
        _GIVEN_UP_ARCHITECTURE,
        "not supported anymore",
        r"Model architecture (?P<name>\w+) was supported in vLLM until (?P<version>v[\d.]*\d)",
    ),
    rule(_UNKNOWN_ARCHITECTURE, "does not recognize this architecture", r"model type `(?P<name>[^`{]+)`"),
    rule(_UNKNOWN_QUANTISATION, "Unknown quantization method", r"Unknown quantization method: (?P<name>[\w-]+)"),
    rule(
        _GPU_TOO_OLD_FOR_QUANTISATION,
        "is not supported for the current GPU",
        r"is not supported for the current GPU\. \w+ " + _CAPABILITIES,
    ),
    rule(
        _GPU_TOO_OLD_FOR_QUANTISATION,
        "Quantization scheme is not supported for ', 'the current GPU",
        r"'the current GPU\. Min " + _CAPABILITIES,
    ),
    rule(_OWN_CODE, "contains custom code which must be executed"),
    rule(_HEADS_NOT_DIVISIBLE, "must be divisible by tensor parallel size", _HEADS),
    rule(_LONGER_THAN_MODEL, "greater than the derived max_model_len", _LONGER, _longest_context),
    rule(_DAMAGED, "SafetensorError"),
    rule(_WRONG_SHAPE, "exceeds dimension size", r"start \(\d+\) \+ length \(\d+\) exceeds dimension size \(\d+\)"),
    rule(_WRONG_SHAPE, "loaded_weight.", r"\bassert .*\bloaded_weight\."),
    rule(
        _UNEXPECTED_WEIGHTS,
        "no module or parameter named",
        r"no module or parameter named '(?P<name>[^'{]+)' in (?P<architecture>\w+)",
    ),
    rule(
        _MISSING_WEIGHTS,
        "weights were not initialized from checkpoint",
        r"weights were not initialized from checkpoint: \{(?P<names>'[^}]+)\}",
    ),
    rule(_NO_WEIGHTS, "Cannot find any model weights with"),
    rule(_NOT_OPENED, "FileNotFoundError", r"No such file or directory: (?P<path>\S+\.safetensors)"),
    rule(_NO_CONFIG, "Invalid repository ID or local directory specified"),
    rule(_BAD_CONFIG, "is not a valid JSON file", r"config file at '(?P<path>[^'{]+)' is not a valid JSON file"),
    rule(_NO_TOKENIZER, "Couldn't instantiate the backend tokenizer"),
    hint(_GATED, "Cannot access gated repo"),
    hint(_GATED, "You are trying to access a gated repo"),
    hint(_HUB_UNREACHABLE, "We couldn't connect to 'https://huggingface.co'"),
    rule(_NO_DEVICE, "Failed to infer device type"),
    rule(_NO_GPU, "No CUDA GPUs are available"),
    rule(_NO_COMPILER, "No working C++ compiler found"),
    rule(_NO_C_COMPILER, "Failed to find C compiler"),
    rule(_NO_PYTHON_HEADERS, "Python.h: No such file or directory"),
    rule(PORT_TAKEN, "Address already in use"),
    rule(_UNKNOWN_OPTION, "unrecognized arguments", r"error: unrecognized arguments: (?P<option>\S+)"),
    rule(_BAD_VALUE, "error: argument", r"error: argument (?P<option>[^:]+): (?P<reason>.*[^.\s])"),
    hint(_PART_DIED, "died unexpectedly", r"Worker proc (?P<name>\S+) died unexpectedly"),
    hint(_PART_DIED, "WorkerProc initialization failed", r"Exception: (?P<name>WorkerProc) initialization failed"),
    hint(_PART_DIED, "encountered an issue", r"EngineDeadError: (?P<name>\w+) encountered an issue"),
    hint(_REFUSED, "Value error, ", r"Value error, (?P<reason>[^\[]*[^\[.\s])"),
)
