"""What one block of a model is made of, as far as its computation depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launchdeck.planning.llama.replay.allocator import aligned
from launchdeck.planning.llama.replay.contradiction import lacks, misshapen
from launchdeck.planning.llama.replay.steps import Kind, SplitInput
from launchdeck.planning.llama.weights import tensor_gpu_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launchdeck.models.gguf.header import GgufTensor


@dataclass(frozen=True)
class Block:
    """The tensors by the names they have in all blocks ("attn_q.weight"), and what the attention looks at.

    `key_row` and `value_row` are the numbers of a token that are cached (`widest_value_row` in any layer),
    `key_length` and `value_length` those of one head; with `latent_rank` numbers keys are compressed, and values are
    made of the same. `is_biased`: by the distance of tokens; `encoded`: how many tokens of something else it attends to
    as well; `reads_cache`: otherwise tokens look at each other; `reuses_cache`: it reads the cache of a layer before;
    `norms_values`: without a weight; `in_window`: it looks through the sliding window; `keys_first`: it makes keys
    before values; `rotates`: by the tokens' positions, and before it normalises with `rotates_first`; `scales_query`:
    by the position where it does not rotate; `adds_to_past`: puts its last result into the place of what went past the
    feed-forward part; `adds_to_entering`: that of the part before into the place of what entered; `routes_first`: what
    entered to experts; `norms_plainly`: before both parts, without weights; `feeds_past`: its feed-forward part gets
    what went past the attention; `sum_of_parts`: how both parts' results are added up where they are made side by side,
    and what went past them ("f", "a" and "p", each sum behind its terms, as in "fp+a+"). `state_rows` are the numbers
    of a sequence that a recurrent layer keeps, of its convolution and of its scan; `norms_scan_inputs`: what goes into
    that, with weights or without. `cache_copy` and `embedding_copy` name copies of what it reads of layers on other
    devices.
    """

    tensors: Mapping[str, GgufTensor]
    n_head: int
    key_row: int
    value_row: int
    widest_value_row: int
    key_length: int
    value_length: int
    latent_rank: int
    is_biased: bool
    encoded: int
    reads_cache: bool
    reuses_cache: bool
    norms_values: bool
    in_window: bool
    keys_first: bool
    rotates: bool
    rotates_first: bool
    positions_per_token: int
    scales_query: bool
    adds_to_past: bool
    adds_to_entering: bool
    routes_first: bool
    norms_plainly: bool
    feeds_past: bool
    sum_of_parts: str
    shared_factors: SplitInput | None
    state_rows: tuple[int, int]
    norms_scan_inputs: bool
    cache_copy: str = ""
    embedding_copy: str = ""

    def has(self, part: str) -> bool:
        return f"{part}.weight" in self.tensors

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Give the first so many lengths of this tensor.

        Raises:
            LaunchdeckError: the layer has no such tensor, or one that cannot be.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise lacks(name)
        if len(tensor.shape) < dimensions:
            raise misshapen(name)
        return tensor.shape[:dimensions]

    def width(self, part: str) -> int:
        """Count the numbers that come out of this matrix for each token. Raises LaunchdeckError."""
        return self.shape(f"{part}.weight", 2)[1]

    def depth(self, part: str) -> int:
        """Count the numbers of each token that go into this matrix. Raises LaunchdeckError."""
        return self.shape(f"{part}.weight", 1)[0]

    def norm_length(self, part: str) -> int:
        """Count the numbers that this norm has weights for, 0 where there is none."""
        return self.depth(part) if self.has(part) else 0

    @property
    def attends(self) -> bool:
        return self.has("attn_output")

    @property
    def is_recurrent(self) -> bool:
        return self.has("ssm_in")

    @property
    def gates_heads(self) -> bool:
        """Whether queries come with a gate for what their heads attend to."""
        return self.has("attn_q") and self.width("attn_q") == 2 * self.n_head * self.key_length

    @property
    def is_delta_net(self) -> bool:
        return self.has("ssm_conv1d") and not self.has("ssm_in")

    @property
    def keeps_state(self) -> bool:
        return self.is_recurrent or self.is_delta_net or self.has("shortconv.conv")

    @property
    def mixes(self) -> bool:
        return self.attends or self.keeps_state

    @property
    def has_experts(self) -> bool:
        return self.has("ffn_down_exps")

    @property
    def adds_after_experts(self) -> bool:
        """Whether there is nothing but a sum after the experts."""
        return self.has_experts and not self.has("ffn_up_shexp")

    @property
    def feeds_forward(self) -> bool:
        return self.has("ffn_down") or self.has_experts

    def weight(self, part: str, kind: Kind = Kind.WEIGHT) -> tuple[SplitInput, ...]:
        return self._tensor(f"{part}.weight", kind)

    def bias(self, part: str) -> tuple[SplitInput, ...]:
        return self._tensor(f"{part}.bias", Kind.WEIGHT)

    def scale(self, part: str) -> tuple[SplitInput, ...]:
        return self._tensor(f"{part}.scale", Kind.WEIGHT)

    def factors(self) -> tuple[SplitInput, ...]:
        """Give what RoPE takes besides the positions, where the model has it once for all layers."""
        return (self.shared_factors,) if self.shared_factors else ()

    def _tensor(self, name: str, kind: Kind) -> tuple[SplitInput, ...]:
        tensor = self.tensors.get(name)
        return (SplitInput(kind, name, aligned(tensor_gpu_bytes(tensor))),) if tensor else ()
