#!/usr/bin/env bash
# A config.json with an infinite number in it, as every model of the Mamba 2 family has one (time_step_limit).
#
# Expected: the file is JSON, and one version of transformers reads what another has written.
# Seen, with the default configuration of Mamba 2:
#   transformers 4.50.0 writes   "time_step_limit": [0.0, Infinity]                   which is no JSON: a strict parser refuses the file
#   transformers 5.24.0 writes   "time_step_limit": [0.0, {"__float__": "Infinity"}]  which is JSON, and a convention of its own
#   transformers 4.50.0 reads the latter as a list of a number and a dictionary, and says nothing
# So whoever reads config.json has to bear both, and a checker of types must not call such a model damaged.
#
# Exit status: 0 while this is so, 1 when it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 TRANSFORMERS_VERBOSITY=error TRANSFORMERS_NO_ADVISORY_WARNINGS=1
for version in 4.50.0 5.24.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet "transformers==$version"
    mkdir "$work/by-$version"
    "$work/$version/bin/python" -W ignore -c '
import sys
from transformers import Mamba2Config
Mamba2Config().save_pretrained(sys.argv[1])
' "$work/by-$version" 2>/dev/null
done

"$work/5.24.0/bin/python" - "$work" <<'PYTHON'
import json
import sys
from pathlib import Path

work = Path(sys.argv[1])
old, new = ((work / f"by-{version}" / "config.json").read_text() for version in ("4.50.0", "5.24.0"))


def is_strict(text):
    def refuse(word):
        raise ValueError(word)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        return f"no: it holds {error}"
    return "yes"


seen = {
    "4.50.0 writes JSON": is_strict(old),
    "4.50.0 writes": json.loads(old)["time_step_limit"],
    "5.24.0 writes JSON": is_strict(new),
    "5.24.0 writes": json.loads(new)["time_step_limit"],
}
for what, value in seen.items():
    print(f"{what}: {value}")
expected = ["no: it holds Infinity", [0.0, float("inf")], "yes", [0.0, {"__float__": "Infinity"}]]
sys.exit(list(seen.values()) != expected)
PYTHON

"$work/4.50.0/bin/python" -W ignore - "$work" <<'PYTHON' 2>/dev/null
import sys

from transformers import AutoConfig

read = AutoConfig.from_pretrained(f"{sys.argv[1]}/by-5.24.0").time_step_limit
print(f"4.50.0 reads what 5.24.0 has written: {read}")
sys.exit(list(read) != [0.0, {"__float__": "Infinity"}])
PYTHON
