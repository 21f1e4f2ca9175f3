"""What the engine's own account says reaches "auto": it comes down to what fits, and never goes up again for it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.gguf_models import llama
from fakes.samples import LLAMA_SERVER, gpu, inventory
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import LaunchPlan, Tier, Verdict
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.planner import Planner
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

MIB = 1024 * 1024
# It gives each device the compute buffer of the table, by the layers it was asked for, and notes what it was asked.
PROGRAM = """#!{python}
import json, sys
from pathlib import Path
layers = int(sys.argv[sys.argv.index("--n-gpu-layers") + 1])
table = json.loads(Path({table!r}).read_text())
with open({asked!r}, "a") as file:
    print(layers, file=file)
mib = table.get(str(layers), table["else"])
for name in sys.argv[sys.argv.index("--device") + 1].split(","):
    print(name, 100, 100, mib)
print("Host", 1, 1, 1)
"""


class Accountant:
    """A planner whose engine's accounting says what a test wants, for a model of 33 layers, too large for its cards."""

    def __init__(self, folder: Path, *, cards: int = 1, used_gib: float = 19.0) -> None:
        self.table = folder / "table.json"
        self.asked = folder / "asked"
        program = folder / "llama-fit-params"
        program.write_text(PROGRAM.format(python=sys.executable, table=str(self.table), asked=str(self.asked)))
        program.chmod(0o755)
        size = {"n_layer": 32, "n_embd": 4096, "n_head": 32, "n_head_kv": 8, "n_ff": 14336, "n_vocab": 4000}
        self.request = ModelLoadRequest(
            llama(**size, n_ctx=32768, quant="q8_0").write(folder / "m.gguf"),
            gpu_uuids=tuple(f"GPU-{n}" for n in range(cards)),
        )
        self.settings = Settings()
        self.engine = replace(LLAMA_SERVER, path=folder / "llama-server", supports_rpc=True)
        self.machine = inventory(*(gpu(n, "RTX 4090", GpuType.NVIDIA, 24, used_gib) for n in range(cards)))
        self.planner = self.of_another_run()

    def of_another_run(self) -> Planner:
        planner = Planner(lambda: self.settings, Paths.resolve())
        planner.inventory, planner.engines = self.machine, (self.engine,)
        return planner

    def says(self, **mib: int) -> None:
        """MiB by layers ("n29") and "otherwise"."""
        table = {name.removeprefix("n"): size for name, size in mib.items() if name != "otherwise"}
        self.table.write_text(json.dumps(table | {"else": mib["otherwise"]}))

    def plan(self, **changes: Any) -> LaunchPlan:
        return self.planner.plan(replace(self.request, **changes), 8001)

    def settled(self, **changes: Any) -> list[LaunchPlan]:
        """The plans that the window shows one after the other until there is nothing more to ask."""
        plans = [self.plan(**changes)]
        while self.planner.can_account(plans[-1]):
            assert len(plans) < 20
            self.planner.account(plans[-1])
            plans.append(self.plan(**changes))
        return plans


@pytest.fixture
def accountant(tmp_path: Path) -> Accountant:
    return Accountant(tmp_path)


def counted_mib(plan: LaunchPlan) -> int:
    """The closed form's compute buffer for one sequence with all results, about what the program would say."""
    return plan.estimate.devices[0].compute_bytes // MIB


def test_auto_comes_down_to_what_the_engine_says_fits(accountant: Accountant) -> None:
    first = accountant.plan()
    assert 0 < first.layers.resolved < 33
    accountant.says(otherwise=counted_mib(first) + 900)
    plans = accountant.settled()
    assert [plan.layers.resolved for plan in plans] == sorted((p.layers.resolved for p in plans), reverse=True)
    last = plans[-1]
    assert last.layers.resolved < first.layers.resolved
    assert last.verdict is Verdict.FITS
    assert last.estimate.devices[0].compute_tier is Tier.ENGINE
    assert last.layers.asked is None
    assert last.layers.largest_that_fits == last.layers.resolved
    assert accountant.settled(n_gpu_layers=last.layers.resolved + 1)[-1].verdict is not Verdict.FITS
    # what is settled stays, in this run and the next, and for every other door
    assert accountant.plan() == last
    assert accountant.of_another_run().plan(accountant.request, 8001) == last


def test_whatever_number_is_asked_for_what_fits_is_what_the_engine_has_left_of_auto(accountant: Accountant) -> None:
    first = accountant.plan()
    accountant.says(otherwise=counted_mib(first) + 900)
    last = accountant.settled()[-1]
    assert last.layers.largest_that_fits != first.layers.largest_that_fits
    for asked in (1, last.layers.resolved, 33):
        assert accountant.plan(n_gpu_layers=asked).layers.largest_that_fits == last.layers.resolved
        # in another run as well, where nobody has asked for "auto"
        fresh = accountant.of_another_run().plan(replace(accountant.request, n_gpu_layers=asked), 8001)
        assert fresh.layers.largest_that_fits == last.layers.resolved
    assert accountant.plan(n_gpu_layers=0).layers.resolved == 0


def test_what_was_settled_is_settled_anew_for_a_machine_with_more_free(accountant: Accountant) -> None:
    first = accountant.plan()
    accountant.says(otherwise=counted_mib(first) + 900)
    last = accountant.settled()[-1]
    accountant.planner.inventory = inventory(gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 10))
    assert accountant.plan().layers.resolved > last.layers.resolved
    accountant.settings = replace(accountant.settings, memory_margin_mib=4096)
    accountant.planner.inventory = accountant.machine
    assert accountant.plan().layers.resolved < last.layers.resolved


def test_where_the_engine_agrees_nothing_changes(accountant: Accountant) -> None:
    first = accountant.plan()
    accountant.says(otherwise=counted_mib(first))
    plans = accountant.settled()
    assert {plan.layers.resolved for plan in plans} == {first.layers.resolved}
    assert len(accountant.asked.read_text().split()) == 1


def test_an_engine_that_says_something_else_each_time_is_followed_down_and_not_round(accountant: Accountant) -> None:
    """Less for fewer layers, then more: no answer brings a number back that was given up."""
    first = accountant.plan()
    base, top = counted_mib(first), first.layers.resolved
    accountant.says(
        **{f"n{top}": base + 300, f"n{top - 1}": base + 1500, f"n{top - 2}": base + 1500}, otherwise=base + 700
    )
    numbers = [plan.layers.resolved for plan in accountant.settled()]
    assert numbers == sorted(numbers, reverse=True)
    assert accountant.plan().verdict is Verdict.FITS


def test_however_much_the_engine_wants_there_is_an_end(accountant: Accountant) -> None:
    accountant.plan()
    accountant.says(otherwise=30_000)
    plans = accountant.settled()
    assert plans[-1].layers.resolved == 0
    assert len(plans) <= 10


def test_a_number_that_was_asked_for_stays(accountant: Accountant) -> None:
    first = accountant.plan()
    accountant.says(otherwise=counted_mib(first) + 900)
    asked = accountant.settled(n_gpu_layers=first.layers.resolved)[-1]
    assert asked.layers.resolved == first.layers.resolved
    assert asked.verdict is not Verdict.FITS


def test_several_devices(tmp_path: Path) -> None:
    accountant = Accountant(tmp_path, cards=2, used_gib=21.5)
    first = accountant.plan()
    accountant.says(otherwise=counted_mib(first) + 700)
    last = accountant.settled()[-1]
    assert 0 < last.layers.resolved < first.layers.resolved
    assert last.verdict is Verdict.FITS
