"""How right the estimate is, architecture by architecture, beside what others say of the same loads.

    LAUNCHDECK_TEST_BIN=... python tests/bench/bench_estimates.py [ARCHITECTURE ...]

Truth is llama.cpp's own accounting (`llama-memory-truth`), of the first build that LAUNCHDECK_TEST_BIN names. Weights
and cache count as exact only to the byte, on every device and on the host. A total is that of one GPU, without the
context of its process; where others say nothing, the case counts among neither their median nor their worst. A GPU that
gets next to nothing is no case. "auto" is judged as `auto_truth` has it.
"""

from __future__ import annotations

import sys
import tempfile
import timeit
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "app")]

from peers import PEERS  # noqa: E402

from auto_truth import Choice, choices  # noqa: E402
from fakes.gguf_zoo import every_architecture  # noqa: E402
from launchdeck.domain.plan import Estimate  # noqa: E402
from launchdeck.models.describe import ENCODERS  # noqa: E402
from launchdeck.models.gguf.gguf import read_header  # noqa: E402
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel  # noqa: E402
from truth.engine import Memory, build_of, engine_folders  # noqa: E402
from truth.oracle import Recorder, Truth  # noqa: E402
from truth.recording import Recording  # noqa: E402

MIB = 1 << 20
OURS = "Launchdeck"
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
    replace(ONE, n_ctx=16384, devices=(GPU,) * 4, split=(24.0, 8.0, 16.0, 12.0)),
)
AUTO_LOADS = (ONE, replace(ONE, n_ctx=16384, devices=(GPU, GPU), split=(3.0, 2.0)), LOADS[-1])


@dataclass(frozen=True)
class Total:
    """A GPU's true total, and by how much somebody is off."""

    true_bytes: int
    difference_bytes: int

    @property
    def share(self) -> float:
        return abs(self.difference_bytes) / self.true_bytes

    @property
    def is_close(self) -> bool:
        return abs(self.difference_bytes) <= max(64 * MIB, 0.03 * self.true_bytes)


@dataclass
class Score:
    """What was found for one architecture, or for all."""

    exact: list[bool] = field(default_factory=list)
    off: float = 0.0
    cases: int = 0
    totals: dict[str, list[Total]] = field(default_factory=lambda: {name: [] for name in (OURS, *PEERS)})
    auto: list[Choice] = field(default_factory=list)
    estimate_s: list[float] = field(default_factory=list)

    def include(self, other: Score) -> None:
        self.exact += other.exact
        self.off = max(self.off, other.off)
        self.cases += other.cases
        self.auto += other.auto
        self.estimate_s += other.estimate_s
        for name, totals in other.totals.items():
            self.totals[name] += totals

    def add(self, estimate: Estimate, truth: Memory) -> None:
        """Compare weights and cache on every device and on the host."""
        pairs = [*zip(estimate.devices, truth.gpus, strict=True), (estimate.host, truth.host)]
        differences = [
            (abs(ours.weights_bytes - true.weights) + abs(ours.kv_bytes - true.kv), true.weights + true.kv)
            for ours, true in pairs
        ]
        self.exact.append(not any(difference for difference, _ in differences))
        self.off = max(self.off, *(difference / true for difference, true in differences if true))

    def add_totals(self, name: str, totals: Iterable[int], truth: Memory) -> None:
        pairs = zip(totals, truth.gpus, strict=True)
        self.totals[name] += [Total(true.total, total - true.total) for total, true in pairs if true.total >= MIB]


def score(engine: Truth, path: Path) -> Score:
    """Compare one model under all loads."""
    header, result = read_header(path), Score()
    model = MemoryModel.of(header)
    n = model.layer_count
    for plain in LOADS:
        load = replace(plain, embedding=header.architecture in ENCODERS)
        for layers, truth in engine.memory(path, load, sorted({1, 2, n // 2, n - 1, n})).items():
            asked = replace(load, n_gpu_layers=layers)
            estimate = timed_estimate(model, asked, result)
            result.cases += sum(gpu.total >= MIB for gpu in truth.gpus)
            result.add(estimate, truth)
            result.add_totals(OURS, (device.total_bytes for device in estimate.devices), truth)
            for name, peer in PEERS.items():
                if (said := peer(header, asked)) is not None:
                    result.add_totals(name, said, truth)
    for plain in AUTO_LOADS:
        result.auto += choices(engine, path, model, replace(plain, embedding=header.architecture in ENCODERS))
    return result


def timed_estimate(model: MemoryModel, load: Load, result: Score) -> Estimate:
    """Measured as while the layer slider moves: everything else has been asked before.

    The best of some runs counts: the others tell what else the machine was doing.
    """
    estimate = model.estimate(load)
    runs_s = timeit.repeat(lambda: model.estimate(load), number=20, repeat=5)
    result.estimate_s.append(min(runs_s) / 20 / len(load.devices))
    return estimate


def errors(totals: list[Total]) -> str:
    if not totals:
        return f"{'no answer':>21}"
    shares = [total.share for total in totals]
    return f"{median(shares):11.1%} {max(shares):9.1%}"


def line(name: str, found: Score) -> str:
    exact = sum(found.exact) / len(found.exact)
    return f"{name:16}{found.cases:6} {exact:7.1%}  " + "  ".join(map(errors, found.totals.values()))


def summary(everything: Score) -> None:
    """All cases together, with the goals."""
    print(f"\n{'':24}answered  within 3 % or 64 MiB {'median':>11} {'worst':>9} {'worst short':>15} {'worst over':>15}")
    for name, totals in everything.totals.items():
        close, answered = sum(total.is_close for total in totals), len(totals)
        lowest, highest = (f(total.difference_bytes / MIB for total in totals) for f in (min, max))
        print(
            f"{name:24}{answered / everything.cases:8.1%}  {close / max(answered, 1):21.1%} {errors(totals)}"
            f" {lowest:+11.0f} MiB {highest:+11.0f} MiB"
        )
    exact = sum(everything.exact) / len(everything.exact)
    close = sum(total.is_close for total in everything.totals[OURS]) / everything.cases
    over = sum(choice.is_overcommitted for choice in everything.auto)
    left = [-choice.one_more_short_bytes / MIB for choice in everything.auto if choice.one_more_short_bytes is not None]
    microseconds = median(everything.estimate_s) * 1e6
    print(f"\nweights and cache exact: {exact:.2%} (goal 99 %), at most {everything.off:.3%} off (goal 0.1 %)")
    print(f"total within 3 % or 64 MiB: {close:.2%} (goal 95 %)")
    print(
        f"auto over-committed: {over} of {sum(choice.short_bytes is not None for choice in everything.auto)} (goal 0)"
    )
    wasteful = sum(choice.wastes_a_layer for choice in everything.auto)
    print(f"auto left room for a layer: {wasteful} of {len(left)} (goal 0), {max(left):+.0f} MiB to spare at most")
    print(f"an estimate: {microseconds:.1f} us a GPU, {microseconds / 10:.2f} of the budget")


def main() -> None:
    """Print a line for each architecture and the sums."""
    folder_of_engines = engine_folders()[0]
    engine = Recorder(build_of(folder_of_engines) or "", Recording(), folder_of_engines)
    everything = Score()
    print(f"{'':31}" + "  ".join(f"{name:>21}" for name in everything.totals))
    print(f"{'model':16} cases   exact  " + "  ".join([f"{'median':>11} {'worst':>9}"] * len(everything.totals)))
    for name, gguf in every_architecture():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = score(engine, gguf.write(Path(folder) / f"{name}.gguf"))
        if not found.cases:
            print(f"{name:16} the accounting cannot place it")
            continue
        print(line(name, found), flush=True)
        everything.include(found)
    summary(everything)


if __name__ == "__main__":
    main()
