"""What people want to know about a model, from its header."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.model import RANK_POOLING, ModelFormat, ModelInfo, ServerType
from launchdeck.domain.text import Message
from launchdeck.files.apart import NoAnswerError
from launchdeck.files.looking import status_of
from launchdeck.models.architectures.table import ARCHITECTURES
from launchdeck.models.architectures.traits import Purpose
from launchdeck.models.errors import silent
from launchdeck.models.gguf.ggml import FILE_TYPES
from launchdeck.models.gguf.gguf import GgufHeader, read_header, split_name
from launchdeck.models.ollama import model_of_blob
from launchdeck.models.projectors import projector_beside
from launchdeck.models.safetensors.describe import describe_folder
from launchdeck.models.safetensors.safetensors import folder_name, is_safetensors_path

if TYPE_CHECKING:
    from pathlib import Path

# Those that only encode: no token follows another.
ENCODERS = frozenset(name for name, traits in ARCHITECTURES.items() if traits.purpose is Purpose.ENCODER)

_COMPANION_TYPES = frozenset({"adapter", "mmproj", "imatrix"})
_FILE_TYPE_GUESSED = 1024
_POOLING = {1: "mean", 2: "cls", 3: "last", 4: RANK_POOLING}


def inspect(path: Path) -> ModelInfo:
    """Describe the model at this path: a GGUF file, or a folder (or a file in it) in safetensors format.

    What cannot be used is described too: its `problem` says why. A blob of Ollama's has the name Ollama gives it.
    """
    try:
        return speakable(describe_folder(path) if is_safetensors_path(path) else _named(_described(path)))
    except NoAnswerError as error:
        return describe_unread(path, silent(error).failure.message)


def speakable(model: ModelInfo) -> ModelInfo:
    """The same, with a `problem` where its path holds bytes that are no text: neither JSON nor an engine's answers
    could name it.
    """
    try:
        str(model.path).encode()
    except UnicodeEncodeError:
        told = Message("The path {path} holds bytes that are no text in UTF-8: rename it.", path=ascii(str(model.path)))
        return replace(model, server_types=(), problem=model.problem or told)
    return model


def _described(path: Path) -> ModelInfo:
    try:
        return describe(read_header(path))
    except LaunchdeckError as error:
        return describe_broken(path, error)


def _named(model: ModelInfo) -> ModelInfo:
    stored = model_of_blob(model.path)
    if stored is not None:
        return replace(model, name=stored.name, projector=stored.projector)
    return replace(model, projector=projector_beside(model.path))


def describe(header: GgufHeader) -> ModelInfo:
    """The header in people's terms. `problem` is set for a file that is no model of its own or that no engine loads."""
    architecture = header.architecture
    return ModelInfo(
        path=header.path,
        name=model_name(header.path),
        format=ModelFormat.GGUF,
        architecture=architecture,
        size_bytes=header.size_bytes,
        block_count=header.block_count,
        context_length=header.integer(f"{architecture}.context_length"),
        quantisation=_quantisation(header),
        server_types=_server_types(header),
        files=header.files,
        problem=_problem(header),
        expert_count=header.integer(f"{architecture}.expert_count") or 0,
        pooling=_pooling(header),
    )


def describe_broken(path: Path, error: LaunchdeckError) -> ModelInfo:
    """What is left to say about a file whose header could not be read."""
    return replace(describe_unread(path, error.failure.message), size_bytes=_size_bytes(path))


def describe_unread(path: Path, problem: Message, model_format: ModelFormat = ModelFormat.GGUF) -> ModelInfo:
    """What is left to say about what cannot be looked at."""
    return ModelInfo(
        path=path,
        name=model_name(path) if model_format is ModelFormat.GGUF else folder_name(path),
        format=model_format,
        architecture=None,
        size_bytes=0,
        block_count=None,
        context_length=None,
        quantisation=None,
        server_types=(),
        files=(path,),
        problem=problem,
    )


def is_companion(header: GgufHeader) -> bool:
    """Whether the file belongs to a model and is none: a projector for images, a LoRA adapter, a bare vocabulary."""
    return (
        header.metadata.get("general.type") in _COMPANION_TYPES
        or header.architecture in {"clip", "imatrix"}
        or not header.tensors
    )


def model_name(path: Path) -> str:
    """The file's name without its ending and its number among shards.

    `general.name` is what somebody once called the training run ("Smollm2 135M 8k Lc100K Mix1 Ep2").
    """
    shard = split_name(path.name)
    return shard[0] if shard else path.stem


def _problem(header: GgufHeader) -> Message | None:
    if is_companion(header):
        return Message("{path} belongs to a model, but is none by itself.", path=str(header.path))
    if header.architecture is None or header.block_count is None:
        return Message("{path} does not say what kind of model it is.", path=str(header.path))
    if header.byte_order != sys.byteorder:
        return Message("{path} is meant for machines with another byte order.", path=str(header.path))
    return None


def _server_types(header: GgufHeader) -> tuple[ServerType, ...]:
    """The first is what it was made for. llama.cpp can pool the states of any decoder into an embedding."""
    if is_companion(header):
        return ()
    # Pooling is written into models that were trained to embed or rank (0 is none).
    if header.architecture in ENCODERS or header.integer(f"{header.architecture}.pooling_type"):
        return (ServerType.EMBEDDING,)
    return (ServerType.LLM, ServerType.EMBEDDING)


def _pooling(header: GgufHeader) -> str | None:
    """Source: `llama_pooling_type` of llama.cpp. Encoders that do not say how they pool take the mean."""
    pooling = header.integer(f"{header.architecture}.pooling_type")
    if pooling is None:
        return "mean" if header.architecture in ENCODERS else None
    return _POOLING.get(pooling)


def _quantisation(header: GgufHeader) -> str | None:
    file_type = header.integer("general.file_type")
    if file_type is not None and not file_type & _FILE_TYPE_GUESSED and file_type in FILE_TYPES:
        return FILE_TYPES[file_type]
    bytes_by_type: Counter[str] = Counter()
    for tensor in header.tensors:
        bytes_by_type[tensor.type.name] += tensor.n_bytes
    return bytes_by_type.most_common(1)[0][0] if bytes_by_type else None


def _size_bytes(path: Path) -> int:
    try:
        return status_of(path).st_size
    except OSError:
        return 0
