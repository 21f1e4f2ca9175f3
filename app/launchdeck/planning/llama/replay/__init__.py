"""llama.cpp's compute graph played through, to know the size of a compute buffer before anything is started.

Why it is played: a compute buffer is as large as the highest offset that its allocator ever gives out. That follows
from the order in which results come and go, and from the gaps that are left between them, and from nothing simpler. A
sum of sizes is wrong by hundreds of MiB either way; a few layers more or less on the GPU depend on them.

What happens in llama.cpp, and where it is mirrored:

1. A model builds its graph, node by node (`build_arch_graph`): `layers/`, in the same order, as `steps`.
2. The scheduler cuts the graph into splits (`ggml_backend_sched_split_graph`): `program`.
3. The allocator gives every node and every split input a place (`ggml_gallocr_alloc_graph_impl`): `rehearsal` says what
   comes and goes, `allocator` where it goes.

Layers are alike, so each kind is made into a program once, and what was played from one state is kept: the layer slider
asks for another number of layers at every tick.

Words, which are llama.cpp's and ggml's:

- split: a run of nodes that one backend works with in one go
- split input: what a split reads of another backend's memory, copied before the split begins
- backend copy: such a copy; in a pipeline of several GPUs there are four of each (`GGML_SCHED_MAX_COPIES`)
- offloaded: a node whose weights are in RAM, and which the GPU works with all the same (`op_offload`)
- in place: a result that takes the room of what it is made of
- rotation: of a quantised cache's keys and values (`attn_rot`); that by positions is called RoPE in llama.cpp
- cut: where the tokens are left that give no results (`inp_out_ids`)
- reused: the cache of an earlier layer that a layer reads, having none of its own (`layer_reuse_cb`)
"""
