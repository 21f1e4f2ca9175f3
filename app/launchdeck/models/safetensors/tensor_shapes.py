"""What the shapes of a model's tensors tell where its config.json does not, or tells something else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from launchdeck.models.safetensors.safetensors_file import TYPE_BITS

if TYPE_CHECKING:
    from launchdeck.models.safetensors.config_json import ModelConfig
    from launchdeck.models.safetensors.safetensors_file import SafeTensor

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_KEYS = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.\d+\.(?:self_attn|attention|attn)\.k_proj\.weight$")
_KEY_NORM = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.\d+\.(?:self_attn|attention|attn)\.k_norm\.weight$")
_BLOCK = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_OTHER_TOWERS = re.compile(r"vision|visual|audio|image|speech")


def completed(config: ModelConfig, tensors: Sequence[SafeTensor]) -> ModelConfig:
    """The config with what is missing read off the tensors. The number of KV heads follows what the keys really are."""
    own = [tensor for tensor in tensors if not _OTHER_TOWERS.search(tensor.name)]
    stored = _block_count(own)
    # More are stored than the config counts where some only speculate; fewer where it told a default.
    n_layer = min(config.n_layer or stored, stored) if stored else config.n_layer
    head_dim = config.head_dim or _width(own, _KEY_NORM)
    n_head_kv = config.n_head_kv
    key_width = _width(own, _KEYS)
    if key_width and head_dim and key_width % head_dim == 0 and config.kv_lora_rank is None:
        n_head_kv = key_width // head_dim
    return replace(
        config, n_layer=n_layer, head_dim=head_dim, n_head_kv=n_head_kv, dtype=config.dtype or _prevailing_dtype(own)
    )


def _block_count(tensors: Iterable[SafeTensor]) -> int | None:
    numbers = [int(match[1]) for match in (_BLOCK.search(tensor.name) for tensor in tensors) if match]
    return max(numbers) + 1 if numbers else None


def _width(tensors: Iterable[SafeTensor], pattern: re.Pattern[str]) -> int | None:
    """The rows of the first such tensor of plain numbers: what is packed has another shape."""
    return next((t.shape[0] for t in tensors if t.shape and t.type in _DTYPES and pattern.search(t.name)), None)


def _prevailing_dtype(tensors: Iterable[SafeTensor]) -> str | None:
    """The type of most of the plain numbers, as vLLM looks for it where the config says none."""
    counts: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.type in _DTYPES:
            counts[tensor.type] += tensor.n_bytes * 8 // TYPE_BITS[tensor.type]
    return _DTYPES[counts.most_common(1)[0][0]] if counts else None
