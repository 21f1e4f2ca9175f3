"""How right the estimate is, architecture by architecture, and how long it takes.

    LAUNCHDECK_TEST_BIN=... python tests/bench/bench_estimates.py [ARCHITECTURE ...]

Truth is llama.cpp's own accounting (`llama-memory-truth`). Weights and cache count as exact only to the byte, on every
device and on the host; the total's error is the worst device's. `wide` are totals off by more than 3 % and 64 MiB.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "app")]

from fakes.gguf_zoo import every_architecture  # noqa: E402
from launchdeck.models.describe import ENCODERS  # noqa: E402
from launchdeck.models.gguf import read_header  # noqa: E402
from launchdeck.planning.estimate import Device, Load, MemoryModel  # noqa: E402
from memory_truth import ask  # noqa: E402

MIB = 1 << 20
GPU = Device("GPU", 24 << 30, context_bytes=0)
ONE = Load(0, 8192, 4, "f16", "f16", embedding=False, devices=(GPU,), split=(1.0,))
LOADS = (
    ONE,
    replace(ONE, n_ctx=2048),
    replace(ONE, n_ctx=32768),
    replace(ONE, n_parallel=2, kv_unified=False),
    replace(ONE, cache_type_k="q8_0", cache_type_v="q8_0"),
    replace(ONE, n_ctx=16384, devices=(GPU, GPU), split=(1.0, 1.0)),
    replace(ONE, devices=(GPU, GPU, GPU), split=(24.0, 10.0, 16.0)),
)


@dataclass
class Score:
    """Counts over the cases of one architecture."""

    cases: int = 0
    exact: int = 0
    compute_exact: int = 0
    wide: int = 0
    worst: float = 0.0
    worst_mib: float = 0.0

    def add(self, *, exact: bool, compute_exact: bool, difference: int, total: int) -> None:
        self.cases += 1
        self.exact += exact
        self.compute_exact += compute_exact
        self.wide += abs(difference) > max(64 * MIB, 0.03 * total)
        if total:
            self.worst = max(self.worst, abs(difference) / total)
        if abs(difference) / MIB > abs(self.worst_mib):
            self.worst_mib = difference / MIB


def score(engine_bin: Path, path: Path, wanted: Score) -> float:
    """Compare one model under all loads; returns seconds per estimate and GPU."""
    header = read_header(path)
    model = MemoryModel.of(header)
    n = model.layer_count
    spent, estimates = 0.0, 0
    for plain in LOADS:
        load = replace(plain, embedding=header.architecture in ENCODERS)
        for layers, truth in ask(engine_bin, path, load, sorted({1, 2, n // 2, n - 1, n})).items():
            asked = replace(load, n_gpu_layers=layers)
            model.estimate(asked)
            start = time.perf_counter()
            for _ in range(100):
                estimate = model.estimate(asked)
            spent += time.perf_counter() - start
            estimates += 100 * len(load.devices)
            pairs = [*zip(estimate.devices, truth.gpus, strict=True), (estimate.host, truth.host)]
            exact = all((d.weights_bytes, d.kv_bytes) == (t.weights, t.kv) for d, t in pairs)
            for device, true in pairs[:-1]:
                wanted.add(
                    exact=exact,
                    compute_exact=device.compute_bytes == true.compute,
                    difference=device.total_bytes - true.total,
                    total=true.total,
                )
    return spent / max(estimates, 1)


def main() -> None:
    """Print a line for each architecture and the sums."""
    engine_bin = Path(os.environ["LAUNCHDECK_TEST_BIN"])
    everything = Score()
    print(f"{'model':18} cases  exact  compute  wide   worst total    us/GPU")
    for name, gguf in every_architecture():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            one = Score()
            seconds = score(engine_bin, gguf.write(Path(folder) / f"{name}.gguf"), one)
        if not one.cases:
            print(f"{name:18} the accounting cannot place it")
            continue
        for field in ("cases", "exact", "compute_exact", "wide"):
            setattr(everything, field, getattr(everything, field) + getattr(one, field))
        print(
            f"{name:18} {one.cases:5} {one.exact / one.cases:6.1%} {one.compute_exact / one.cases:7.1%} {one.wide:5}"
            f" {one.worst:7.2%} {one.worst_mib:+7.0f} MiB {seconds * 1e6:6.1f}"
        )
    print(
        f"all: {everything.cases} cases, weights and cache exact {everything.exact / everything.cases:.2%},"
        f" compute exact {everything.compute_exact / everything.cases:.1%},"
        f" total within 3 % or 64 MiB {1 - everything.wide / everything.cases:.2%}"
    )


if __name__ == "__main__":
    main()
