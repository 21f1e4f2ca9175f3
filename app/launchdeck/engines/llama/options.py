"""What the words of llama-server's command line do, in a sentence each."""

from __future__ import annotations

import re

from launchdeck.domain.text import Message

# An option, or a variable of the environment before the program.
_WORD = re.compile(r"(?<!\S)(?:(?P<option>--[a-z][a-z0-9-]*)|(?P<variable>[A-Z][A-Z0-9_]*)=\S*)")
_EXTRA = Message("An extra argument, passed on to the engine as it is.")
_MEANINGS = {
    "--model": Message("The file with the model."),
    "--alias": Message("The model's name in the API."),
    "--host": Message("The address it listens on: this machine alone."),
    "--port": Message("The port it listens on."),
    "--ctx-size": Message("The context in tokens, all slots together."),
    "--parallel": Message("Slots: how many requests are answered at the same time."),
    "--kv-unified": Message("All slots share one context: any of them may use all of it."),
    "--fit": Message("Off: the engine changes none of these numbers by itself."),
    "--n-gpu-layers": Message("How many layers are placed on GPUs; the rest stays in RAM."),
    "--rpc": Message("RPC workers: other programs that lend their devices."),
    "--device": Message("The devices that layers are placed on, in this order; none: the CPU alone."),
    "--tensor-split": Message("Each device's share of the layers."),
    "--n-cpu-moe": Message("The experts of that many first blocks stay in RAM."),
    "--cache-type-k": Message("How the cache's keys are stored; smaller types take less memory and are less exact."),
    "--cache-type-v": Message("How the cache's values are stored; smaller types take less memory and are less exact."),
    "--flash-attn": Message("Flash attention: computes attention in less memory."),
    "--batch-size": Message("How many tokens of a prompt are taken at a time."),
    "--ubatch-size": Message("How many of these are computed at once; more is faster and takes more memory."),
    "--threads": Message("How many CPU threads compute what is not on a GPU."),
    "--embeddings": Message("Serve embeddings instead of answers."),
    "--rerank": Message("Serve scores that rank texts by how well they answer a question."),
    "--pooling": Message("How the states of all tokens become one embedding."),
    "--cache-ram": Message("How many MiB of RAM prompts may be kept in, to be taken up again; 0: none."),
    "--metrics": Message("Tell counters at /metrics."),
    "--log-verbosity": Message("Log what was really applied: layers, buffers, devices."),
    "CUDA_VISIBLE_DEVICES": Message("The NVIDIA GPUs that the engine may see."),
    "CUDA_DEVICE_ORDER": Message("Number NVIDIA's GPUs by their place in the machine."),
    "HIP_VISIBLE_DEVICES": Message("The AMD GPUs that the engine may see."),
    "LLAMA_API_KEY": Message("The key that requests have to bring; hidden here."),
}


def meaning_at(command: str, position: int) -> tuple[str, Message] | None:
    """The option (or variable) that this place of a command line belongs to, and what it does; None between them."""
    for word in reversed(list(_WORD.finditer(command))):
        if word.start() > position:
            continue
        if word["option"]:
            return word["option"], _MEANINGS.get(word["option"], _EXTRA)
        inside = position < word.end() and word["variable"] in _MEANINGS
        return (word["variable"], _MEANINGS[word["variable"]]) if inside else None
    return None
