"""What is predicted beside what the driver counts, on the first GPU of this machine, with a real llama-server.

    LAUNCHDECK_LLAMA_SERVER=/path/to/llama-server python tests/bench/bench_real_gpu.py

The models are files full of zeros in the shapes of public ones: they take no room on disk, and compute nonsense. For
every launch: what was predicted before the first start or learned from it, what the driver counts for the process when
it is ready and after two long requests at once, and whether the buffers are those that were predicted. Then another
process leaves little of an NVIDIA GPU's memory: "auto" must not take more than its margin allows, nor leave a layer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "app")]

import httpx  # noqa: E402

from e2e.real_application import WITHOUT_WINDOW, RealApplication, application  # noqa: E402
from fakes.gguf_writer import Gguf  # noqa: E402
from fakes.gguf_zoo import every_architecture  # noqa: E402

MIB = 1 << 20
WORDS = 500
LAUNCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama-8b", {"n_ctx": 16384}),
    ("llama-8b", {"n_ctx": 16384, "n_gpu_layers": 20}),
    ("llama-8b", {"n_ctx": 16384, "cache_type_k": "q8_0"}),
    ("llama-8b", {"n_ctx": 16384, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}),
    ("gemma3", {"n_ctx": 16384}),
    ("qwen3moe", {"n_ctx": 16384}),
    ("qwen3moe", {"n_ctx": 16384, "n_cpu_moe": 12}),
    ("mamba2", {"n_ctx": 16384}),
    ("nemotron_h", {"n_ctx": 16384}),
    ("falcon-h1", {"n_ctx": 16384}),
)
SCARCE = (("llama-8b", 1800), ("llama-8b", 3700), ("gemma3", 2300), ("nemotron_h", 2300), ("falcon-h1", 1200))
# What drivers round up to, buffer by buffer.
TOLERANCE_MIB = 8
BALLAST = """
import sys
from ctypes import CDLL, byref, c_int, c_size_t, c_void_p

def call(name, *arguments):
    assert getattr(cuda, name)(*arguments) == 0, name

cuda = CDLL("libcuda.so.1")
device, context, free, total, place = c_int(), c_void_p(), c_size_t(), c_size_t(), c_void_p()
call("cuInit", 0)
call("cuDeviceGet", byref(device), 0)
call("cuDevicePrimaryCtxRetain", byref(context), device)
call("cuCtxSetCurrent", context)
call("cuMemGetInfo_v2", byref(free), byref(total))
call("cuMemAlloc_v2", byref(place), c_size_t(free.value - (int(sys.argv[1]) << 20)))
print("held", flush=True)
sys.stdin.read()
"""


def main() -> None:
    engine = os.environ.get("LAUNCHDECK_LLAMA_SERVER")
    if engine is None:
        print("Name a llama-server that uses your GPU in LAUNCHDECK_LLAMA_SERVER.")
        return
    with application(llama_server_path=engine, probe_interval_s=0.5) as app:
        app.start(WITHOUT_WINDOW)
        gpus = app.http.get("/api/management/gpus").json()["gpus"]
        if gpus[0]["gpu_type"] == "cpu":
            print("There is no GPU on this machine.")
            return
        print(f"{gpus[0]['name']}, driver {gpus[0]['driver_version']}, MiB of its memory")
        models = write_models(app.models)
        print(f"{'':58}{'predicted':>10}{'ready':>8}{'off':>8}{'used':>8}  buffers as predicted")
        for number, (name, asked) in enumerate(LAUNCHES):
            launch(app, models[name], f"{name}-{number}", asked)
        print('\n"auto" where another process has left little')
        for number, (name, left_mib) in enumerate(SCARCE):
            scarce(app, models[name], f"{name}-auto-{number}", gpus[0]["uuid"], left_mib)


def write_models(folder: Path) -> dict[str, Path]:
    wanted = {name for name, *_ in (*LAUNCHES, *SCARCE)}
    models = ((name, model) for name, model in every_architecture() if name in wanted)
    return {name: worded(model).write(folder / f"{name}.gguf") for name, model in models}


def worded(model: Gguf) -> Gguf:
    """With as many words as it has embeddings; the first ones are bytes as GPT-2 writes them."""
    count = next(tensor.shape[1] for tensor in model.tensors if tensor.name == "token_embd.weight")
    words = [*byte_words(), *(f"<{number}>" for number in range(256, count))]
    tokenizer = {
        "model": "gpt2",
        "pre": "default",
        "tokens": words,
        "token_type": [1] * count,
        "merges": ["t h", "h e"],
        "bos_token_id": count - 2,
        "eos_token_id": count - 1,
    }
    template = {"tokenizer.chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}
    keys: dict[str, Any] = {f"tokenizer.ggml.{key}": value for key, value in tokenizer.items()}
    keys[f"{model.metadata['general.architecture']}.context_length"] = 131072
    return Gguf(model.metadata | keys | template, model.tensors)


def byte_words() -> Iterator[str]:
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return (chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256))


def launch(app: RealApplication, path: Path, name: str, asked: dict[str, Any]) -> None:
    entry = started(app, path, name, {"n_gpu_layers": -1, **asked})
    use(entry)
    used = measured_mib(app, name)
    (predicted,) = entry["predicted"]["devices"]
    applied = next(device for device in entry["applied"]["devices"] if device["device"] == "CUDA0")
    parts = ("weights_bytes", "kv_bytes", "compute_bytes")
    off = [abs(applied[part] - predicted[part]) / MIB for part in parts]
    total = predicted["total_bytes"] / MIB
    words = " ".join(f"{key}={value}" for key, value in asked.items())
    told = "yes" if max(off) < 1 else f"off by {max(off):.0f}"
    ready = entry["ready_mib"]
    print(f"{path.stem:12}{words:46}{total:10.0f}{ready:8}{total / ready - 1:8.2%}{used:8}  {told}", flush=True)
    app.stop(name)


def scarce(app: RealApplication, path: Path, name: str, uuid: str, left_mib: int) -> None:
    with ballast(uuid, left_mib):
        time.sleep(2.5)
        free_mib = app.http.get("/api/management/gpus").json()["gpus"][0]["free_memory_mb"]
        entry = started(app, path, name, {"n_ctx": 8192})
        count, took = entry["n_gpu_layers"], entry["ready_mib"]
        app.stop(name)
    body = {"model_path": str(path), "gpu_indices": [0], "n_ctx": 8192, "n_gpu_layers": count + 1}
    next_mib = app.post("plan", **body).json()["estimate"]["devices"][0]["total_bytes"] / MIB
    room = free_mib - app.settings.memory_margin_mib
    verdict = "too much" if took > room + TOLERANCE_MIB else "a layer left" if next_mib <= room else "right"
    print(
        f"{path.stem:12}{room:6} to use: {count:2} layers take {took}, one more {next_mib:.0f}: {verdict}", flush=True
    )


@contextmanager
def ballast(uuid: str, left_mib: int) -> Iterator[None]:
    """Another process holds all of the GPU's memory but so much."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": uuid}
    command = [sys.executable, "-c", BALLAST, str(left_mib)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.kill()


def started(app: RealApplication, path: Path, name: str, asked: dict[str, Any]) -> dict[str, Any]:
    answer = app.ask_load_file(path, name, gpu_indices=[0], **asked)
    assert answer.status_code == 202, answer.text
    entry = app.until_state(name, "running", deadline_s=120)
    return entry | {"ready_mib": measured_mib(app, name)}


def measured_mib(app: RealApplication, name: str) -> int:
    """What the driver counts two samples later."""
    time.sleep(2.5)
    measured = app.entry(name)["measured"]["vram_bytes"]
    assert measured is not None, "the driver does not tell what a process holds"
    return round(measured / MIB)


def use(entry: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": "the " * WORDS}], "max_tokens": 8}
    headers = {"Authorization": f"Bearer {entry['api_key']}"}

    def ask() -> None:
        httpx.post(f"{entry['url']}/chat/completions", json=body, headers=headers, timeout=120).raise_for_status()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
