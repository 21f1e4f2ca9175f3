#!/usr/bin/env python3
"""A vLLM that has no model: three processes, vLLM's own log lines, its port refused while it loads.

It takes `vllm serve`'s command line as far as it has to. The lines are worded as vLLM 0.32 has them; the engine core
and the worker are processes of their own, in sessions of their own, and outlive the first one if that is killed.
FAKE_VLLM_SWITCHES holds further switches: seconds to load, how it fails, whether the workers ignore SIGTERM.
"""

import argparse
import http.server
import json
import os
import shlex
import signal
import subprocess
import sys
import time

WORKER = "import signal, sys, time\nif {stubborn}: signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
CORE = (
    "import subprocess, sys\nsubprocess.Popen([sys.executable, '-I', '-S', '-c', {worker!r}], start_new_session=True)\n"
)
FAILURES = {
    "context": (
        "(EngineCore pid=2) ERROR 11-23 20:12:15 [core.py:1510] ValueError: To serve at least one request with the "
        "model's max seq len (2048), (14.50 GiB KV cache is needed, which is larger than the available KV cache "
        "memory (6.20 GiB). Based on the available memory, the estimated maximum model length is 896. Try increasing "
        "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
    ),
}
GENERIC = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)


def parse() -> argparse.Namespace:
    if sys.argv[1:] == ["--version"]:
        print("0.32.0")
        sys.exit()
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    parser.add_argument("--max-model-len", type=int, required=True)
    parser.add_argument("--max-num-seqs", type=int, required=True)
    parser.add_argument("--runner", default="auto")
    args = parser.parse_known_args()[0]
    switches = argparse.ArgumentParser()
    switches.add_argument("--load-s", type=float, default=0.3)
    switches.add_argument("--fail", choices=FAILURES)
    switches.add_argument("--stubborn", action="store_true")
    return switches.parse_args(shlex.split(os.environ.get("FAKE_VLLM_SWITCHES", "")), args)


def say(text: str, end: str = "\n") -> None:
    os.write(1, (text + end).encode())


def start_core(stubborn: bool) -> None:
    worker = WORKER.format(stubborn=stubborn)
    code = CORE.format(worker=worker) + worker
    subprocess.Popen([sys.executable, "-I", "-S", "-c", code], start_new_session=True)


def load(args: argparse.Namespace) -> None:
    """What a start says. Progress bars go back to the beginning of their line, as tqdm has them."""
    say(f"(APIServer pid=1) INFO 11-23 20:07:25 [api_utils.py:286] non-default args: {{'model': {args.model!r}}}")
    say("(EngineCore pid=2) INFO 11-23 20:07:53 [core.py:133] Initializing a V1 LLM engine (v0.32.0)")
    names = [f"Worker_TP{i}" for i in range(args.tensor_parallel_size)] if args.tensor_parallel_size > 1 else ["Worker"]
    for name in names:
        say(f"({name} pid=3) INFO 11-23 20:08:06 [gpu_model_runner.py:5120] Starting to load model {args.model}...")
    for percent in (0, 50, 100):
        say(f"Loading safetensors checkpoint shards: {percent:3}% Completed | {percent // 50}/2 [00:00<?, ?it/s]", "\r")
        time.sleep(args.load_s / 3)
    say("")
    if args.fail:
        say(FAILURES[args.fail])
        say(GENERIC)
        sys.exit(1)
    for name in names:
        say(f"({name} pid=3) INFO 11-23 20:08:07 [gpu_model_runner.py:5150] Model loading took 1.5 GiB memory")
        say(f"({name} pid=3) INFO 11-23 20:08:08 [gpu_worker.py:760] Available KV cache memory: 2.25 GiB")
    tokens, concurrency = args.max_model_len * args.max_num_seqs, float(args.max_num_seqs)
    say(
        f"(EngineCore pid=2) INFO 11-23 20:08:08 [kv_cache_utils.py:2327] GPU KV cache size: {tokens:,} tokens, "
        f"Maximum concurrency for {args.max_model_len:,} tokens per request: {concurrency:.2f}x"
    )
    say("Capturing CUDA graphs (PIECEWISE): 100%|##########| 4/4 [00:00<00:00, 20.00it/s]")
    say("(EngineCore pid=2) INFO 11-23 20:08:11 [core.py:402] init engine (profile, create kv cache) took 4.03 s")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    args: argparse.Namespace

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, b"")
        elif self.path == "/v1/models" and self.may():
            self.answer(200, {"object": "list", "data": [{"id": self.args.served_model_name, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.may():
            return
        if self.path == "/v1/embeddings" and self.args.runner == "pooling":
            data = [{"index": i, "embedding": [float(len(text)), 1.0]} for i, text in enumerate(body["input"])]
            self.answer(200, {"object": "list", "data": data})
        elif self.path == "/v1/chat/completions" and self.args.runner != "pooling":
            chunks = [{"choices": [{"delta": {"content": word}}]} for word in ("Par", "is")]
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
            self.answer(200, "".join([*lines, "data: [DONE]\n\n"]).encode(), "text/event-stream")
        else:
            self.answer(404, {"error": {"message": "The model does not support this API", "code": 404}})

    def may(self) -> bool:
        key = os.environ.get("VLLM_API_KEY")
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            self.answer(401, {"error": "Unauthorized"})
            return False
        return True

    def answer(self, status: int, body: object, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Access is not logged: --disable-uvicorn-access-log."""


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    args = parse()
    start_core(args.stubborn)
    load(args)
    Handler.args = args
    server = http.server.ThreadingHTTPServer((args.host, args.port), Handler)
    say(f"(APIServer pid=1) INFO 11-23 20:08:13 [entry.py:140] Starting vLLM server on http://{args.host}:{args.port}")
    say("INFO:     Application startup complete.")
    server.serve_forever()


if __name__ == "__main__":
    main()
