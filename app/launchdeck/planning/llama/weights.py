"""How many bytes a model's weights take on each device, as llama.cpp's `model buffer size` lines count them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from launchdeck.models.gguf.header import GgufTensor
    from launchdeck.planning.llama.hyperparameters import Hyperparameters

_GPU_ALIGNMENT = 128
_HOST_ALIGNMENT = 64
_GPU_ROW = 512
_BLOCK = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.", re.ASCII)
_EXPERTS = re.compile(r"blk\.(\d+)\.ffn_(?:up|down|gate|gate_up)_(?:ch)?exps")

# Source: LLM_TENSOR_INFOS of llama.cpp. The input layer always stays on the host.
_INPUT = frozenset({"token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"})
# Without a number, but a part of every layer: every device that has layers has a copy.
_SHARED = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
_FIRST_LAYER = frozenset({"token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm"})
# Encoders end with a vector: there is nothing that turns it into a token. BitNet uses the embeddings where they are.
_WITHOUT_OUTPUT = frozenset({
    "bert", "bitnet", "eurobert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert",
    "nomic-bert-moe",
})  # fmt: skip

# These may come without embeddings, and take the output's matrix for them.
_OUTPUT_FOR_EMBEDDINGS = frozenset({"codeshell"})
# Of the blocks that only predict further tokens a server loads next to nothing; what it does load is optional there.
_HEADS_OF_NEXTN = frozenset({"nextn.embed_tokens", "nextn.shared_head_head", "nextn.shared_head_norm"})
_FEED_FORWARD_OF_NEXTN = frozenset({
    "exp_probs_b", "ffn_down", "ffn_down_exps", "ffn_down_shexp", "ffn_gate", "ffn_gate_exps", "ffn_gate_inp",
    "ffn_gate_shexp", "ffn_gate_up_exps", "ffn_up", "ffn_up_exps", "ffn_up_shexp",
})  # fmt: skip
_LOADED_OF_NEXTN = {
    "cohere2moe": _HEADS_OF_NEXTN,
    "deepseek32": frozenset({"exp_probs_b"}),
    "glm-dsa": frozenset({"exp_probs_b"}),
    "hy_v3": _HEADS_OF_NEXTN | _FEED_FORWARD_OF_NEXTN,
    "step35": _HEADS_OF_NEXTN | _FEED_FORWARD_OF_NEXTN | {"attn_gate", "attn_k_norm", "attn_q_norm"},
}
# These ask for the output layer before the embeddings, and find nothing to share.
_COPIED_ON_HOST = frozenset({"gemma3n", "gemma4"})


@dataclass(frozen=True, slots=True)
class Weights:
    """Sums over the layers 0 to i-1 (`..._until[i]`), so that any range of layers costs one subtraction.

    Layer `n` of n+1 is the output layer. `input_bytes` are the embeddings, always on the host; `shared_*` is taken
    once on each device that has one of the layers counted in `sharing_until`. `lent_until[i]` is the room that the GPU
    keeps for weights of the layers 0 to i-1 where they stay on the host and are copied when it is their turn.
    """

    gpu_until: tuple[int, ...]
    host_until: tuple[int, ...]
    sharing_until: tuple[int, ...]
    input_bytes: int
    shared_gpu_bytes: int
    shared_host_bytes: int
    lent_until: tuple[int, ...]
    experts: Experts

    @classmethod
    def of(cls, hp: Hyperparameters, sharing: Sequence[bool]) -> Weights:
        """Make the sums. `sharing`: for every block whether it uses the factors that stand outside the blocks."""
        output = hp.n_layer_all
        tensors = {tensor.name: tensor for tensor in hp.header.tensors if _is_loaded(tensor.name, hp)}
        gpu, host, lent = ([0] * (output + 1) for _ in range(3))
        for name, tensor in tensors.items():
            if name not in _INPUT | _SHARED:
                layer = _layer_of(name, hp)
                gpu[layer] += tensor_gpu_bytes(tensor)
                host[layer] += _host_bytes(tensor)
                lent[layer] = max(lent[layer], tensor.n_bytes)
        gpu_copy, host_copy = _copied_bytes(tensors, hp.architecture)
        gpu[output] += gpu_copy
        host[output] += host_copy
        shared = [tensors[name] for name in _SHARED & tensors.keys()]
        return cls(
            gpu_until=(0, *accumulate(gpu)),
            host_until=(0, *accumulate(host)),
            sharing_until=(0, *accumulate((*sharing, False))),
            input_bytes=sum(_host_bytes(tensors[name]) for name in _INPUT & tensors.keys()),
            shared_gpu_bytes=sum(map(tensor_gpu_bytes, shared)),
            shared_host_bytes=sum(map(_host_bytes, shared)),
            lent_until=(0, *accumulate(lent, max)),
            experts=Experts.of(tensors.values(), output + 1),
        )

    def gpu_bytes(self, first: int, end: int, n_cpu_moe: int = 0) -> int:
        """Bytes of the layers `first` to `end`-1 on a GPU, without the experts of the first `n_cpu_moe` blocks."""
        shared = self.shared_gpu_bytes if self.sharing_until[end] > self.sharing_until[first] else 0
        size = self.gpu_until[end] - self.gpu_until[first] + shared
        if n_cpu_moe <= first:
            return size
        experts = self.experts.gpu_until
        return size - experts[min(end, n_cpu_moe)] + experts[first]

    def host_bytes(self, end: int, n_cpu_moe: int = 0) -> int:
        """Bytes of the embeddings, of the layers 0 to `end`-1 and of the experts of `n_cpu_moe` blocks in RAM."""
        experts = self.experts.host_until
        kept = experts[max(end, n_cpu_moe)] - experts[end]
        shared = self.shared_host_bytes if self.sharing_until[end] else 0
        return self.input_bytes + self.host_until[end] + shared + kept


@dataclass(frozen=True, slots=True)
class Experts:
    """The same sums over the experts alone, which `--n-cpu-moe` leaves in RAM. Source: its pattern in llama.cpp."""

    gpu_until: tuple[int, ...]
    host_until: tuple[int, ...]
    lent_until: tuple[int, ...]

    @classmethod
    def of(cls, tensors: Iterable[GgufTensor], layer_count: int) -> Experts:
        gpu, host, lent = ([0] * layer_count for _ in range(3))
        for tensor in tensors:
            if match := _EXPERTS.match(tensor.name):
                block = int(match[1])
                gpu[block] += tensor_gpu_bytes(tensor)
                host[block] += _host_bytes(tensor)
                lent[block] = max(lent[block], tensor.n_bytes)
        return cls((0, *accumulate(gpu)), (0, *accumulate(host)), (0, *accumulate(lent, max)))


def _copied_bytes(tensors: Mapping[str, GgufTensor], architecture: str) -> tuple[int, int]:
    """What the output layer takes on a GPU and on the host for a matrix that is there once and used at both ends."""
    embeddings, output = tensors.get("token_embd.weight"), tensors.get("output.weight")
    if output and not embeddings and architecture in _OUTPUT_FOR_EMBEDDINGS:
        return tensor_gpu_bytes(output), _host_bytes(output)
    if not embeddings or output or architecture in _WITHOUT_OUTPUT:
        return 0, 0
    # On the host the embeddings are there already, usually.
    return tensor_gpu_bytes(embeddings), _host_bytes(embeddings) if architecture in _COPIED_ON_HOST else 0


def _is_loaded(name: str, hp: Hyperparameters) -> bool:
    """Whether a server loads this tensor. Source: `load_arch_tensors` of every architecture of llama.cpp."""
    match = _BLOCK.match(name)
    if match is None or int(match[1]) < hp.n_layer:
        return True
    part = name[match.end() :].removesuffix(".weight").removesuffix(".bias")
    return int(match[1]) < hp.n_layer_all and part in _LOADED_OF_NEXTN.get(hp.architecture, ())


def _layer_of(name: str, hp: Hyperparameters) -> int:
    block = _block_of(name)
    if block is not None:
        return block
    stem = name.split(".", 1)[0]
    # What LFM2 calls the norm of the embeddings is that of the output.
    in_first = stem in _FIRST_LAYER and not (stem == "token_embd_norm" and hp.architecture.startswith("lfm2"))
    return 0 if in_first else hp.n_layer_all


def _block_of(name: str) -> int | None:
    match = _BLOCK.match(name)
    return int(match[1]) if match else None


def tensor_gpu_bytes(tensor: GgufTensor) -> int:
    """CUDA pads quantised rows to 512 elements (once a tensor) and every tensor to 128 bytes."""
    size = tensor.n_bytes
    if tensor.type.is_quantised and tensor.shape[0] % _GPU_ROW:
        size += tensor.type.row_bytes(_GPU_ROW - tensor.shape[0] % _GPU_ROW)
    return -(-size // _GPU_ALIGNMENT) * _GPU_ALIGNMENT


def _host_bytes(tensor: GgufTensor) -> int:
    return -(-tensor.n_bytes // _HOST_ALIGNMENT) * _HOST_ALIGNMENT
