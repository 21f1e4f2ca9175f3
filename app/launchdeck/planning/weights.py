"""How many bytes a model's weights take on each device, as llama.cpp's `model buffer size` lines count them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launchdeck.models.header import GgufTensor
    from launchdeck.planning.hyperparameters import Hyperparameters

_GPU_ALIGNMENT = 128
_HOST_ALIGNMENT = 32
_GPU_ROW = 512

# Source: LLM_TENSOR_INFOS of llama.cpp. The input layer always stays on the host.
_INPUT = frozenset({"token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"})
# Without a number, but a part of every layer: every device that has layers has a copy.
_SHARED = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
_FIRST_LAYER = frozenset({"token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm"})
# Encoders end with a vector: there is nothing that turns it into a token.
_WITHOUT_OUTPUT = frozenset({
    "bert", "eurobert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weights:
    """Sums over the layers 0 to i-1 (`..._until[i]`), so that any range of layers costs one subtraction.

    Layer `n` of n+1 is the output layer. `input_bytes` are the embeddings, always on the host; `shared_*` is taken
    once on each device that has at least one layer. `largest_bytes` is the largest tensor of a block, experts left out.
    """

    gpu_until: tuple[int, ...]
    host_until: tuple[int, ...]
    input_bytes: int
    shared_gpu_bytes: int
    shared_host_bytes: int
    largest_bytes: int

    @classmethod
    def of(cls, hp: Hyperparameters) -> Weights:
        header, block_count = hp.header, hp.n_layer_all
        gpu, host = [0] * (block_count + 1), [0] * (block_count + 1)
        input_bytes = shared_gpu = shared_host = 0
        tied = header.architecture not in _WITHOUT_OUTPUT
        for tensor in header.tensors:
            name = tensor.name
            if name in _INPUT:
                input_bytes += _host_bytes(tensor)
            elif name in _SHARED:
                shared_gpu += _gpu_bytes(tensor)
                shared_host += _host_bytes(tensor)
            else:
                layer = _layer_of(name, block_count)
                gpu[layer] += _gpu_bytes(tensor)
                host[layer] += _host_bytes(tensor)
                tied = tied and name != "output.weight"
        if tied:  # the output layer works with a copy of the embeddings, but on the host they are there already
            gpu[block_count] += sum(
                _gpu_bytes(tensor) for tensor in header.tensors if tensor.name == "token_embd.weight"
            )
        return cls(
            gpu_until=(0, *accumulate(gpu)),
            host_until=(0, *accumulate(host)),
            input_bytes=input_bytes,
            shared_gpu_bytes=shared_gpu,
            shared_host_bytes=shared_host,
            largest_bytes=max(
                (t.n_bytes for t in header.tensors if t.name.startswith("blk.") and len(t.shape) <= 2), default=0
            ),
        )

    def gpu_bytes(self, first: int, end: int) -> int:
        """Bytes of the layers `first` to `end`-1 on a GPU."""
        blocks = min(end, len(self.gpu_until) - 2) - first
        return self.gpu_until[end] - self.gpu_until[first] + (self.shared_gpu_bytes if blocks > 0 else 0)

    def host_bytes(self, end: int) -> int:
        """Bytes of the embeddings and of the layers 0 to `end`-1 in RAM."""
        return self.input_bytes + self.host_until[end] + (self.shared_host_bytes if end > 0 else 0)


def _layer_of(name: str, block_count: int) -> int:
    if name.startswith("blk."):
        number = name.split(".", 2)[1]
        return min(int(number), block_count) if number.isdecimal() else block_count
    return 0 if name.split(".", 1)[0] in _FIRST_LAYER else block_count


def _gpu_bytes(tensor: GgufTensor) -> int:
    """CUDA pads quantised rows to 512 elements (once a tensor) and every tensor to 128 bytes."""
    size = tensor.n_bytes
    if tensor.type.is_quantised and tensor.shape[0] % _GPU_ROW:
        size += tensor.type.row_bytes(_GPU_ROW - tensor.shape[0] % _GPU_ROW)
    return -(-size // _GPU_ALIGNMENT) * _GPU_ALIGNMENT


def _host_bytes(tensor: GgufTensor) -> int:
    return -(-tensor.n_bytes // _HOST_ALIGNMENT) * _HOST_ALIGNMENT
