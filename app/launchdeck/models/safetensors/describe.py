"""What people want to know about a model in safetensors format."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.model import RANK_POOLING, ModelFormat, ModelInfo, ServerType
from launchdeck.domain.text import Message
from launchdeck.files.looking import is_folder, status_of
from launchdeck.models.safetensors.safetensors import SafetensorsHeader, folder_name, read_safetensors, weight_files

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.models.safetensors.config_json import ModelConfig

# The endings of transformers' class names tell what a network was made for.
_WRITERS = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
_RANKER = "ForSequenceClassification"


def describe_folder(path: Path) -> ModelInfo:
    """Describe the model in this folder. One that cannot be used is described too: its `problem` says why."""
    try:
        return describe_safetensors(read_safetensors(path))
    except LaunchdeckError as error:
        return _broken(path, error)


def describe_safetensors(header: SafetensorsHeader) -> ModelInfo:
    """The headers in people's terms."""
    config = header.config
    limits = [limit for limit in (config.context_length, header.sequence_limit) if limit is not None]
    return ModelInfo(
        path=header.path,
        name=folder_name(header.path),
        format=ModelFormat.SAFETENSORS,
        architecture=config.architecture or config.model_type,
        size_bytes=header.size_bytes,
        block_count=config.n_layer,
        context_length=min(limits, default=None),
        quantisation=config.quantisation or _prevailing_type(header),
        server_types=_server_types(header),
        files=header.files,
        problem=_problem(header),
        pooling=_pooling(header),
    )


def is_component(header: SafetensorsHeader) -> bool:
    """Whether this is a part of something else: a layer of sentence-transformers, a stage of an image generator."""
    return header.config.architecture is None and header.config.model_type is None


def _problem(header: SafetensorsHeader) -> Message | None:
    if header.config.architecture is None or header.config.n_layer is None:
        return Message("{path} does not say what kind of model it is.", path=str(header.path))
    return None


def _server_types(header: SafetensorsHeader) -> tuple[ServerType, ...]:
    """The first is what it was made for. vLLM can pool the states of any decoder into an embedding."""
    architecture = header.config.architecture
    if architecture is None:
        return ()
    if header.modules or not architecture.endswith(_WRITERS):
        return (ServerType.EMBEDDING,)
    return (ServerType.LLM, ServerType.EMBEDDING)


def _pooling(header: SafetensorsHeader) -> str | None:
    """What its own files say; a classifier with one label ranks."""
    return RANK_POOLING if _ranks(header.config) else header.pooling


def _ranks(config: ModelConfig) -> bool:
    return (config.architecture or "").endswith(_RANKER) and config.label_count in {None, 1}


def _prevailing_type(header: SafetensorsHeader) -> str | None:
    bytes_by_type: Counter[str] = Counter()
    for tensor in header.tensors:
        bytes_by_type[tensor.type] += tensor.n_bytes
    return bytes_by_type.most_common(1)[0][0] if bytes_by_type else None


def _broken(path: Path, error: LaunchdeckError) -> ModelInfo:
    folder = path if is_folder(path) else path.parent
    files = weight_files(folder)
    return ModelInfo(
        path=folder,
        name=folder_name(folder),
        format=ModelFormat.SAFETENSORS,
        architecture=None,
        size_bytes=sum(_size_bytes(file) for file in files),
        block_count=None,
        context_length=None,
        quantisation=None,
        server_types=(),
        files=files,
        problem=error.failure.message,
    )


def _size_bytes(path: Path) -> int:
    try:
        return status_of(path).st_size
    except OSError:
        return 0
