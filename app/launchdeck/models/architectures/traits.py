"""The traits by which architectures differ. The defaults are those of a plain dense decoder like Llama's.

What a model's header says (how many heads, how wide a window) is no trait; a trait is what llama.cpp has written down
for the architecture: in `load_arch_hparams`, `load_arch_tensors`, `build_arch_graph` and `create_memory` of each, as of
b10605.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Purpose(Enum):
    """What comes out: the next token, a vector for the text, all tokens at once, or sound."""

    DECODER = auto()
    ENCODER = auto()
    DIFFUSION = auto()
    VOCODER = auto()


class Cache(Enum):
    """Whether there is a cache of keys and values. `UNREAD`: there is one, and tokens look at each other anyway."""

    READ = auto()
    UNREAD = auto()
    NONE = auto()


class Recurrence(Enum):
    """Which layers keep a state: those whose weights say so, all (with or without attention besides), those without
    heads for keys, or all but every n-th (`Traits.full_attention_interval`).
    """

    BY_WEIGHTS = auto()
    EVERY_LAYER = auto()
    BESIDE_ATTENTION = auto()
    WITHOUT_HEADS = auto()
    BUT_FOR_INTERVAL = auto()


class Rotation(Enum):
    """Which layers rotate queries and keys by the tokens' positions (RoPE).

    The others know positions by what is added to embeddings or scores, or not at all. `IF_32_LAYERS`: of Baichuan's two
    sizes the smaller one; `UNLESS_NOT_FINETUNED`: not where the header's `rope.scaling.finetuned` is false.
    """

    EVERY_LAYER = auto()
    NO_LAYER = auto()
    IN_WINDOWS = auto()
    IN_WINDOWS_AND_DENSE_LAYERS = auto()
    BUT_EVERY_FOURTH = auto()
    BUT_FIRST_OF_FOUR = auto()
    IF_32_LAYERS = auto()
    UNLESS_NOT_FINETUNED = auto()


class Indexer(Enum):
    """Which layers cache the keys of an indexer, which tells what is worth attending to (sparse attention): none, all
    or those the header names, all after the dense ones, or, in GLM 5.2 and later, a few where the header names none.
    """

    NONE = auto()
    AS_NAMED = auto()
    AFTER_DENSE_LAYERS = auto()
    SPARSE_FOR_LONG_CONTEXTS = auto()


class Cut(Enum):
    """Where the tokens are left that give no results: within the last layer, or only after it, because more could be
    predicted from all of them: before the output's norm, or after that.
    """

    IN_LAST_LAYER = auto()
    BEFORE_OUTPUT_NORM = auto()
    AFTER_OUTPUT_NORM = auto()


class TiedOutput(Enum):
    """Where embeddings that serve as the output's matrix are copied: to its GPU (in RAM they are there), in RAM as
    well, or nowhere.
    """

    COPIED_TO_GPU = auto()
    COPIED_ANYWHERE = auto()
    NOT_COPIED = auto()


class RelativeBias(Enum):
    """T5's bias by the distance of two tokens; the value begins the names of the layers' weights."""

    IN_ENCODER = "enc."
    IN_DECODER = "dec."


class Sliding(NamedTuple):
    """Which layers look through a window, where the header names one."""

    period: int
    """Of so many layers the last one sees everything; with 0 all look through the window."""
    dense_first: bool = False
    """The first of a period sees everything instead of the last."""
    size: int = 0
    """The window's tokens where the header names none."""
    fixed: bool = False
    """It is `size`, whatever the header names; but it has to name one."""
    unasked: bool = False
    """The header need not name one."""
    array: bool = False
    """The header says it layer by layer; such an array is not looked at in others."""
    blocks: int | None = None
    """Only models of so many layers do."""


class Traits(NamedTuple):
    """One architecture's. A row of `table.ARCHITECTURES` names what differs from these defaults."""

    purpose: Purpose = Purpose.DECODER

    # Attention
    cache: Cache = Cache.READ
    window: Sliding | None = None
    """None: the header's array is believed, if there is one."""
    rotation: Rotation = Rotation.EVERY_LAYER
    rotates_before_norm: bool = False
    """Queries and keys are rotated first, and normalised then."""
    positions_in_space: bool = False
    """Each token has four positions (time, height, width, one more), whatever the header says."""
    factors_in_full_layers: bool = False
    """Only layers that see everything use the rotary factors that all share."""
    flash_attention: bool = True
    """Whether llama.cpp can do it with flash attention at all."""
    relative_bias: RelativeBias | None = None
    norms_values: bool = False
    """Values are normalised, without weights."""
    scales_query: bool = False
    """Layers that do not rotate scale queries by their positions."""
    indexer: Indexer = Indexer.NONE

    # Caches of layers
    own_caches: int | None = None
    """Only so many first layers have a cache; later ones read theirs."""
    shares_caches: bool = False
    """The header's `shared_kv_layers` last layers read the cache of earlier ones."""
    nextn_caches: bool = True
    """Layers that predict further tokens (nextn) have a cache."""
    router_layer: bool = False
    """One more layer, without weights, caches a key and a value of one head, which choose an adapter."""
    recurrence: Recurrence = Recurrence.BY_WEIGHTS
    full_attention_interval: int = 0
    """Every n-th layer attends, where the header does not say; 0: this is not what decides."""
    one_part_a_layer: bool = False
    """A layer keeps a state, or attends, or is a feed-forward part."""
    lightning_attention: bool = False
    """A state is a square of a head's length for each head (MiniMax 01)."""
    replays_recurrence: bool = False
    """How states are computed is known step by step."""

    # Order of the parts
    replayed: bool = True
    """A layer's order is one of those that the replay knows; otherwise closed forms are nearer."""
    sum_of_parts: str = "fp+a+"
    """How the results of two parts side by side are added up: "f"eed-forward part, "a"ttention, what went "p"ast them,
    and a "+" behind the two that it adds.
    """
    may_feed_past: bool = False
    """With `use_parallel_residual` the feed-forward part gets what went past the attention."""
    adds_to_past: bool = False
    """The last sum of a layer takes the place of what went past the feed-forward part."""
    adds_to_entering: bool = False
    """The sum after the attention takes the place of what entered."""
    norms_plainly: bool = False
    """Norms before both parts, without weights."""
    cut: Cut = Cut.IN_LAST_LAYER
    all_results: bool = False
    """There are results for all tokens, whoever asks."""

    # Experts
    routes_first: bool = False
    """What enters the layer chooses the experts."""
    softens_chosen: bool = False
    """The weights of the chosen experts go through a softmax, whatever the header says."""
    normalises_experts: bool = False
    """They add up to 1, whatever the header says."""
    weighs_before_experts: bool = False
    """What goes into the experts is weighed, and not what comes out."""

    # Embeddings and weights
    scales_embeddings: bool = False
    layer_embedding_length: int = 0
    """Numbers of a token's embedding for each layer, where the header does not say."""
    streams: int = 1
    """How many residual streams go past each layer (AltUp)."""
    tied_output: TiedOutput = TiedOutput.COPIED_TO_GPU
    may_lack_embeddings: bool = False
    """The output's matrix is taken for them then."""
    loaded_of_nextn: frozenset[str] = frozenset()
    """What a server loads of the layers that predict further tokens."""
    names: Mapping[str, str] = MappingProxyType({})
    """The usual name of a weight that is called otherwise here, or like something else."""
