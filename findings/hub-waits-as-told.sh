#!/usr/bin/env bash
# The Hugging Face hub's client while the hub says "too many requests" and when to ask again.
#
# Expected: a search that is refused with 429 raises at once, or within a patience that the caller can set.
# Seen, huggingface_hub 2.4.0, HfApi.list_models against a hub on the loopback that answers the first request with
# 429 and "Retry-After: 6", and the second one as usual:
#   the call sleeps those six seconds inside, asks again, and returns the list; nothing is raised or told to the caller
# list_models has no argument for it, so whoever calls it from a window has to be ready for any number of seconds.
#
# Exit status: 0 while this is so, 1 when it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HUB_DISABLE_TELEMETRY=1 HF_HOME="$work/home" NO_PROXY=127.0.0.1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "huggingface_hub==2.4.0"
"$work/venv/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import http.server
import inspect
import json
import sys
import threading
import time

import huggingface_hub

RETRY_AFTER_S = 6
asked = []


class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        asked.append(time.monotonic())
        is_first = len(asked) == 1
        body = b"{}" if is_first else json.dumps([{"id": "owner/model"}]).encode()
        self.send_response(429 if is_first else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if is_first:
            self.send_header("Retry-After", str(RETRY_AFTER_S))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = huggingface_hub.HfApi(endpoint=f"http://127.0.0.1:{server.server_port}", token=False)
began_s = time.monotonic()
try:
    outcome = [model.id for model in api.list_models(search="model", limit=5)]
except Exception as error:
    outcome = type(error).__name__
took_s = time.monotonic() - began_s
settable = [name for name in inspect.signature(api.list_models).parameters if "retr" in name or "timeout" in name]
print(f"huggingface_hub {huggingface_hub.__version__}: {outcome} after {took_s:.1f} s, {len(asked)} requests")
print(f"arguments for a patience: {settable}")
is_so = outcome == ["owner/model"] and took_s >= RETRY_AFTER_S and len(asked) == 2 and not settable
sys.exit(not is_so)
PYTHON
