"""How long reading a GGUF header takes, beside `gguf.GGUFReader` in the same run.

    python tests/bench/bench_header.py

Two files: the demo model, and one with a vocabulary of 128k and its merges, as Llama 3 has.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "app")]

from gguf import GGUFReader  # noqa: E402

from fakes.gguf_models import llama  # noqa: E402
from fakes.gguf_writer import Gguf  # noqa: E402
from launchdeck.models.gguf.gguf import read_header  # noqa: E402
from launchdeck.models.library import demo_model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

N_VOCAB = 128_256
N_MERGES = 280_147


def large_vocabulary(path: Path) -> Path:
    """A model with words as long as Llama 3's: mostly 3 to 10 bytes, some of 60."""
    chance = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"

    def word() -> str:
        return "".join(chance.choices(letters, k=min(60, max(1, round(chance.gauss(6.5, 3))))))

    tokens = [word() for _ in range(N_VOCAB)]
    model = llama(n_layer=32, n_embd=4096, n_head=32, n_head_kv=8, n_ff=14336, n_vocab=N_VOCAB, quant="q4_k")
    metadata = {
        **model.metadata,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * N_VOCAB,
        "tokenizer.ggml.merges": [f"{word()} {word()}" for _ in range(N_MERGES)],
    }
    return Gguf(metadata, model.tensors).write(path)


def best_ms(read: Callable[[Path], object], path: Path, times: int) -> float:
    """The quickest of several runs."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        read(path)
        spent.append(time.perf_counter() - start)
    return 1000 * min(spent)


def main() -> None:
    """Print a line for each file."""
    with tempfile.TemporaryDirectory() as folder:
        files = {"128k vocabulary": large_vocabulary(Path(folder) / "large.gguf")}
        if demo := demo_model():
            files["demo model"] = demo
        for name, path in files.items():
            ours, theirs = best_ms(read_header, path, 7), best_ms(GGUFReader, path, 1)
            print(f"{name:16} {ours:7.1f} ms, gguf.GGUFReader {theirs:8.1f} ms: {theirs / ours:.0f} times faster")


if __name__ == "__main__":
    main()
