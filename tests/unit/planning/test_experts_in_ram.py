"""`--n-cpu-moe`: the experts of the first blocks in RAM, against the engine's own accounting."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from e2e.engine_process import rpc_worker
from fakes import gguf_zoo
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel
from truth.engine import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.gguf_writer import Gguf
    from truth.oracle import Truth

MIB = 1024 * 1024


@pytest.mark.parametrize("make", [gguf_zoo.qwen3moe, gguf_zoo.gpt_oss, gguf_zoo.glm4moe])
@pytest.mark.parametrize("n_cpu_moe", [0, 1, 5])
@pytest.mark.parametrize("devices", [1, 2])
def test_the_weights_left_on_the_gpus_are_the_engines_own_numbers(
    truth: Truth, tmp_path: Path, make: Callable[[], Gguf], n_cpu_moe: int, devices: int
) -> None:
    path = make().write(tmp_path / "model.gguf")
    memory = MemoryModel.of(read_header(path))
    load = Load(
        memory.layer_count - 1, 4096, 1, "f16", "f16", False, (Device("d", None),) * devices, (1.0,) * devices,
        n_cpu_moe=n_cpu_moe,
    )  # fmt: skip
    predicted = [device.weights_bytes // MIB for device in memory.estimate(load).devices]
    assert predicted == engine_weights_mib(truth, path, load)


def engine_weights_mib(truth: Truth, model: Path, load: Load) -> list[int]:
    options = ["--n-gpu-layers", str(load.n_gpu_layers), "--n-cpu-moe", str(load.n_cpu_moe)]
    options += ["--ctx-size", str(load.n_ctx), "--tensor-split", ",".join("1" for _ in load.devices)]

    def ask(folder: Path) -> list[int]:
        with ExitStack() as stack:
            workers = [stack.enter_context(rpc_worker(folder / "ggml-rpc-server")) for _ in load.devices]
            command = [str(folder / "llama-fit-params"), "--model", str(model), "--fit-print", "on", *options]
            answer = run([*command, "--rpc", ",".join(workers)])
        assert answer.returncode == 0, answer.stderr
        return [int(line.split()[1]) for line in answer.stdout.splitlines() if line.startswith("RPC")]

    return truth.says(model, ("fit-params", *options), ask)
