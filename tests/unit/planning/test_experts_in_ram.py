"""`--n-cpu-moe`: the experts of the first blocks in RAM, against the engine's own accounting."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from e2e.engine_process import rpc_worker
from fakes import gguf_zoo
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel

MIB = 1024 * 1024


@pytest.mark.parametrize("make", [gguf_zoo.qwen3moe, gguf_zoo.gpt_oss, gguf_zoo.glm4moe])
@pytest.mark.parametrize("n_cpu_moe", [0, 1, 5])
@pytest.mark.parametrize("devices", [1, 2])
def test_the_weights_left_on_the_gpus_are_the_engines_own_numbers(
    engine_bin: Path, tmp_path: Path, make: object, n_cpu_moe: int, devices: int
) -> None:
    path = tmp_path / "model.gguf"
    make().write(path)  # type: ignore[operator]
    memory = MemoryModel.of(read_header(path))
    load = Load(
        memory.layer_count - 1, 4096, 1, "f16", "f16", False, (Device("d", None),) * devices, (1.0,) * devices,
        n_cpu_moe=n_cpu_moe,
    )  # fmt: skip
    predicted = [device.weights_bytes // MIB for device in memory.estimate(load).devices]
    assert predicted == engine_weights_mib(engine_bin, path, load)


def engine_weights_mib(engine_bin: Path, model: Path, load: Load) -> list[int]:
    """Two names for one worker are two devices."""
    with rpc_worker(engine_bin / "ggml-rpc-server") as worker, rpc_worker(engine_bin / "ggml-rpc-server") as other:
        command = [str(engine_bin / "llama-fit-params"), "--model", str(model), "--fit-print", "on"]
        command += ["--rpc", ",".join((worker, other)[: len(load.devices)]), "--n-gpu-layers", str(load.n_gpu_layers)]
        command += ["--n-cpu-moe", str(load.n_cpu_moe), "--ctx-size", str(load.n_ctx)]
        command += ["--tensor-split", ",".join("1" for _ in load.devices)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [int(line.split()[1]) for line in answer.stdout.splitlines() if line.startswith("RPC")]
