"""How many bytes a model's weights take on each device, as llama.cpp's `model buffer size` lines count them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from launchdeck.models.architectures.traits import TiedOutput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from launchdeck.models.architectures.traits import Traits
    from launchdeck.models.gguf.header import GgufTensor
    from launchdeck.planning.llama.hyperparameters import Hyperparameters

_GPU_ALIGNMENT = 128
_HOST_ALIGNMENT = 64
_GPU_ROW = 512
# Of a vocoder the parts before its blocks count from the first layer on as well.
_BLOCK = re.compile(r"(?:(?:enc\.|dec\.)?blk|posnet|convnext)\.(\d+)\.", re.ASCII)
_EXPERTS = re.compile(r"blk\.(\d+)\.ffn_(?:up|down|gate|gate_up)_(?:ch)?exps")

# Source: LLM_TENSOR_INFOS of llama.cpp. The input layer always stays on the host.
_INPUT = frozenset({"token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"})
# Without a number, but a part of every layer: every device that has layers has a copy.
_SHARED = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
_FIRST_LAYER = frozenset({"conv1d", "token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm"})


@dataclass(frozen=True, slots=True)
class Weights:
    """Sums over the layers 0 to i-1 (`..._until[i]`), so that any range of layers costs one subtraction.

    Layer `n` of n+1 is the output layer. `input_bytes` are the embeddings, always on the host; `shared_*` is taken
    once on each device that has one of the layers counted in `sharing_until`. `offloaded_until[i]` is the room that
    the GPU keeps for copies of the layers 0 to i-1 where they stay in RAM and their operations are offloaded.
    """

    gpu_until: tuple[int, ...]
    host_until: tuple[int, ...]
    sharing_until: tuple[int, ...]
    input_bytes: int
    shared_gpu_bytes: int
    shared_host_bytes: int
    offloaded_until: tuple[int, ...]
    experts: Experts

    @classmethod
    def of(cls, hp: Hyperparameters, sharing: Sequence[bool]) -> Weights:
        """Make the sums. `sharing`: for every block whether it uses the factors that stand outside the blocks."""
        output = hp.n_layer_all
        tensors = {tensor.name: tensor for tensor in hp.header.tensors if _is_loaded(tensor.name, hp)}
        gpu, host, offloaded = ([0] * (output + 1) for _ in range(3))
        for name, tensor in tensors.items():
            if name not in _INPUT | _SHARED:
                layer = _layer_of(name, hp)
                gpu[layer] += tensor_gpu_bytes(tensor)
                host[layer] += _host_bytes(tensor)
                offloaded[layer] = max(offloaded[layer], tensor.n_bytes)
        gpu_copy, host_copy = _copied_bytes(tensors, hp.traits)
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
            offloaded_until=(0, *accumulate(offloaded, max)),
            experts=Experts.of(tensors.values(), output + 1),
        )

    def gpu_bytes(self, first: int, end: int, n_cpu_moe: int = 0) -> int:
        """Add up the layers `first` to `end`-1 on a GPU, without the experts of the first `n_cpu_moe` blocks."""
        shared = self.shared_gpu_bytes if self.sharing_until[end] > self.sharing_until[first] else 0
        size = self.gpu_until[end] - self.gpu_until[first] + shared
        if n_cpu_moe <= first:
            return size
        experts = self.experts.gpu_until
        return size - experts[min(end, n_cpu_moe)] + experts[first]

    def host_bytes(self, end: int, n_cpu_moe: int = 0) -> int:
        """Add up the embeddings, the layers 0 to `end`-1 and the experts of `n_cpu_moe` blocks in RAM."""
        experts = self.experts.host_until
        kept = experts[max(end, n_cpu_moe)] - experts[end]
        shared = self.shared_host_bytes if self.sharing_until[end] else 0
        return self.input_bytes + self.host_until[end] + shared + kept


@dataclass(frozen=True, slots=True)
class Experts:
    """The same sums over the experts alone, which `--n-cpu-moe` leaves in RAM. Source: its pattern in llama.cpp."""

    gpu_until: tuple[int, ...]
    host_until: tuple[int, ...]
    offloaded_until: tuple[int, ...]

    @classmethod
    def of(cls, tensors: Iterable[GgufTensor], layer_count: int) -> Experts:
        gpu, host, offloaded = ([0] * layer_count for _ in range(3))
        for tensor in tensors:
            if match := _EXPERTS.match(tensor.name):
                block = int(match[1])
                gpu[block] += tensor_gpu_bytes(tensor)
                host[block] += _host_bytes(tensor)
                offloaded[block] = max(offloaded[block], tensor.n_bytes)
        return cls((0, *accumulate(gpu)), (0, *accumulate(host)), (0, *accumulate(offloaded, max)))


def _copied_bytes(tensors: Mapping[str, GgufTensor], traits: Traits) -> tuple[int, int]:
    """What the output layer takes on a GPU and on the host for a matrix that is there once and used at both ends."""
    embeddings, output = tensors.get("token_embd.weight"), tensors.get("output.weight")
    if output and not embeddings and traits.may_lack_embeddings:
        return tensor_gpu_bytes(output), _host_bytes(output)
    if not embeddings or output or traits.tied_output is TiedOutput.NOT_COPIED:
        return 0, 0
    anywhere = traits.tied_output is TiedOutput.COPIED_ANYWHERE
    return tensor_gpu_bytes(embeddings), _host_bytes(embeddings) if anywhere else 0


def _is_loaded(name: str, hp: Hyperparameters) -> bool:
    """Whether a server loads this tensor. Source: `load_arch_tensors` of every architecture of llama.cpp."""
    match = _BLOCK.match(name)
    if match is None or int(match[1]) < hp.n_layer:
        return True
    part = name[match.end() :].removesuffix(".weight").removesuffix(".bias")
    return int(match[1]) < hp.n_layer_all and part in hp.traits.loaded_of_nextn


def _layer_of(name: str, hp: Hyperparameters) -> int:
    block = _block_of(name)
    if block is not None:
        return block
    stem = name.split(".", 1)[0]
    return 0 if hp.traits.names.get(stem, stem) in _FIRST_LAYER else hp.n_layer_all


def _block_of(name: str) -> int | None:
    match = _BLOCK.match(name)
    return int(match[1]) if match else None


def tensor_gpu_bytes(tensor: GgufTensor) -> int:
    """Add up a tensor on a GPU: CUDA pads quantised rows to 512 elements (once), and every tensor to 128 bytes."""
    size = tensor.n_bytes
    if tensor.type.is_quantised and tensor.shape[0] % _GPU_ROW:
        size += tensor.type.row_bytes(_GPU_ROW - tensor.shape[0] % _GPU_ROW)
    return -(-size // _GPU_ALIGNMENT) * _GPU_ALIGNMENT


def _host_bytes(tensor: GgufTensor) -> int:
    return -(-tensor.n_bytes // _HOST_ALIGNMENT) * _HOST_ALIGNMENT
