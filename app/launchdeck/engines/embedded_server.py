"""The engine that comes with Launchdeck: llama.cpp's server out of `xllamacpp`, behind llama-server's own flags.

It runs as a process of its own and imports nothing of the application, so it starts as quickly as it can.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import Any

KEY_VARIABLE = "LLAMA_API_KEY"
POOLINGS = ("none", "mean", "cls", "last", "rank")
SWITCH = ("on", "off", "auto")


def main() -> int:
    """Serve until SIGTERM or SIGINT; exit status 1 where the model cannot be served."""
    options = _parser().parse_args()
    if options.package_folder:
        sys.path.insert(0, options.package_folder)
    import xllamacpp  # noqa: PLC0415 (its 30 ms are not needed for --help)

    if options.version:
        sys.stderr.write(f"version: xllamacpp {xllamacpp.__version__} (build {xllamacpp.BUILD_INFO['build_number']})\n")
        return 0
    if options.list_devices:
        _list_devices(xllamacpp)
        return 0
    if not options.model:
        sys.stderr.write("error: --model is needed\n")
        return 1
    return _serve(xllamacpp, options)


def _parser() -> argparse.ArgumentParser:
    """llama-server's flags, as far as the wheel can carry them out. An unknown one is refused."""
    parser = argparse.ArgumentParser(prog="launchdeck-embedded", allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the version of llama.cpp and of its package")
    parser.add_argument("--list-devices", action="store_true", help="print the devices layers can be placed on")
    parser.add_argument("--package-folder", help="another build of xllamacpp than the installed one")
    parser.add_argument("--model", help="GGUF file")
    parser.add_argument("--alias", help="the model's name in the API")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ctx-size", type=int, default=0, help="tokens in all, 0: the model's own")
    parser.add_argument("--parallel", type=int, default=4, help="slots")
    parser.add_argument("--kv-unified", action="store_true", help="all slots share the context")
    parser.add_argument("--fit", choices=("off",), default="off", help="the layer count is never changed")
    parser.add_argument("--n-gpu-layers", type=int, default=0)
    parser.add_argument("--tensor-split", type=_numbers, default=[], help="share of each device, 3,1")
    parser.add_argument("--cache-type-k", default="f16")
    parser.add_argument("--cache-type-v", default="f16")
    parser.add_argument("--flash-attn", choices=SWITCH, default="auto")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--ubatch-size", type=int, default=512)
    parser.add_argument("--embeddings", action="store_true", help="serve embeddings")
    parser.add_argument("--rerank", action="store_true", help="serve scores of texts for a question")
    parser.add_argument("--pooling", choices=POOLINGS, help="default: the model's own")
    parser.add_argument("--cache-ram", type=int, default=8192, help="MiB of RAM for saved prompts, 0: none")
    parser.add_argument("--threads", type=int, default=-1)
    parser.add_argument("--metrics", action="store_true", help="serve /metrics")
    parser.add_argument("--log-verbosity", type=int, default=3)
    return parser


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _list_devices(xllamacpp: Any) -> None:
    """In the words of llama-server's --list-devices, the CPU left out."""
    sys.stdout.write("Available devices:\n")
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    for device in xllamacpp.get_device_info():
        if device["type"] != cpu:
            total, free = device["memory_total"] >> 20, device["memory_free"] >> 20
            sys.stdout.write(f"  {device['name']}: {device['description']} ({total} MiB, {free} MiB free)\n")


def _serve(xllamacpp: Any, options: argparse.Namespace) -> int:
    # Both signals end the process at once and at any time. The library's own way down waits for standard input to
    # end, and a handler in Python would wait for the model to be loaded.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        server = xllamacpp.Server(_params(xllamacpp, options))
    except Exception as error:  # noqa: BLE001 (whatever the library raises is the reason)
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stderr.write(f"serving on {server.listening_address}\n")
    threading.Event().wait()
    return 0


def _params(xllamacpp: Any, options: argparse.Namespace) -> Any:
    """The parameters that llama-server makes of the same flags (several defaults of the package differ)."""
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    if options.alias:
        params.model_alias = {options.alias}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_ctx = options.ctx_size
    params.n_parallel = options.parallel
    params.kv_unified = options.kv_unified
    params.fit_params = False
    params.n_gpu_layers = options.n_gpu_layers
    if options.tensor_split:
        shares = options.tensor_split
        params.tensor_split = shares + [0.0] * (len(params.tensor_split) - len(shares))
    params.cache_type_k = _cache_type(xllamacpp, options.cache_type_k)
    params.cache_type_v = _cache_type(xllamacpp, options.cache_type_v)
    flash = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}[options.flash_attn]
    params.flash_attn_type = getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{flash}")
    params.n_batch = options.batch_size
    params.n_ubatch = options.ubatch_size
    params.embedding = options.embeddings or options.rerank
    pooling = "rank" if options.rerank else options.pooling
    if pooling:
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{pooling.upper()}")
    params.cache_ram_mib = options.cache_ram
    params.cpuparams.n_threads = options.threads
    params.endpoint_metrics = options.metrics
    params.verbosity = options.log_verbosity
    if os.environ.get(KEY_VARIABLE):
        params.api_keys = [os.environ[KEY_VARIABLE]]
    return params


def _cache_type(xllamacpp: Any, name: str) -> Any:
    return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


if __name__ == "__main__":
    sys.exit(main())
