"""Makes a model of an architecture for the zoo, by asking llama.cpp which weights it wants.

    LAUNCHDECK_TEST_BIN=... python tests/ask_architecture.py NAME [KEY=VALUE ...]

llama.cpp is given a model until it loads it: a weight that it misses is added, and made the shape that it expects. What
is printed is the entry for `data/architectures.json`. A key that it misses has to be given (`expert_count=8`,
`attention.sliding_window_pattern=[true,false,true,false]`), and so has a weight that it may lack by its loader, but not
by its graph (`blk.*.indexer.proj.weight=[512,4]`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "app")]

from fakes.gguf_asked import asked  # noqa: E402

_MISSING = re.compile(r"tensor '(\S+)' not found")
_WRONG = re.compile(r"tensor '(\S+)' has wrong shape; expected ([\d, ]+), got")
_LAYER = re.compile(r"(?<=blk\.)\d+(?=\.)")
_OPTIONS = ("-ngl", "0", "-c", "4096", "-np", "4", "-kvu", "-o", "4", "-ub", "512")


def main() -> None:
    """Print the entry, or what llama.cpp says where it stops."""
    name, *words = sys.argv[1:]
    given = {key: json.loads(value) for key, _, value in (word.partition("=") for word in words)}
    tensors = {key: value for key, value in given.items() if key.endswith((".weight", ".bias"))}
    keys = {key: value for key, value in given.items() if key not in tensors}
    found = _spread(tensors, asked(name, keys, {}).metadata[f"{name}.block_count"])
    with tempfile.TemporaryDirectory() as folder:
        while said := _refusal(Path(folder) / "model.gguf", name, keys, found or {"none": [1]}):
            if missing := _MISSING.search(said):
                found[missing[1]] = [1]
            elif (wrong := _WRONG.search(said)) and found.get(wrong[1]) != (shape := _shape(wrong[2])):
                found[wrong[1]] = shape
            else:
                sys.exit(said)
    entry = f'"keys": {json.dumps(keys)},\n        "tensors": {json.dumps(_gathered(found))}'
    print(f'    "{name}": {{\n        {entry}\n    }}')


def _refusal(path: Path, name: str, keys: dict[str, Any], tensors: dict[str, list[int]]) -> str:
    """Load it; the result is what llama.cpp has against it, empty if nothing."""
    asked(name, keys, tensors).write(path)
    program = Path(os.environ["LAUNCHDECK_TEST_BIN"]) / "llama-memory-truth"
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    command = [str(program), "-m", str(path), *_OPTIONS]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)
    return "" if answer.returncode == 0 else answer.stderr or f"{program} ended with {answer.returncode}"


def _shape(expected: str) -> list[int]:
    """The lengths, without those behind the first that are 1."""
    first, *lengths = map(int, expected.split(","))
    while lengths and lengths[-1] == 1:
        lengths.pop()
    return [first, *lengths]


def _spread(tensors: dict[str, list[int]], layers: int) -> dict[str, list[int]]:
    return {name.replace("*", str(i)): shape for name, shape in tensors.items() for i in range(layers)}


def _gathered(tensors: dict[str, list[int]]) -> dict[str, list[int]]:
    """Those that all layers have alike, once."""
    layers = {int(match[0]) for match in map(_LAYER.search, tensors) if match}
    alike: dict[str, list[int]] = {}
    for name, shape in tensors.items():
        anywhere = _LAYER.sub("*", name)
        everywhere = all(tensors.get(_LAYER.sub(str(layer), name)) == shape for layer in layers)
        alike[anywhere if everywhere else name] = shape
    return alike


if __name__ == "__main__":
    main()
