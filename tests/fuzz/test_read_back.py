"""Every file that is read back, damaged in thousands of ways: nothing raises, nothing hangs, nothing else is touched,
and its good neighbour is always there.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.confined import run_confined

RUN = Path(__file__).with_name("run.py")
SEED = 20261130
DEADLINE_S = 5 * 50.0
INPUTS = {
    "records, version 2": 1500,
    "records, version 1": 500,
    "launch": 500,
    "start list, version 2": 1000,
    "start list, version 1": 500,
    "remembered requests, version 2": 1000,
    "remembered requests, version 1": 500,
    "settings": 1500,
    "history": 1000,
    "window": 1000,
    "inventory": 1500,
    "accounting": 500,
    "residuals": 500,
    "orders of devices": 500,
    "engines asked": 500,
    "engines fetched": 500,
    "manifest": 500,
    "sharded/config.json": 500,
    "sharded/model.safetensors.index.json": 500,
    "embedder/modules.json": 500,
    "embedder/sentence_bert_config.json": 200,
    "1_Pooling/config.json": 200,
}


@pytest.mark.timeout(5 * 60)
@pytest.mark.parametrize("subject", INPUTS)
def test_what_is_read_back_is_borne_however_damaged(
    subject: str, record_property: Callable[[str, object], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="launchdeck-fuzz") as folder:
        said = run_confined(RUN, Path(folder), [subject, INPUTS[subject], SEED], timeout_s=DEADLINE_S)
        told = json.loads(said.splitlines()[-1])
    record_property("fuzzed", f"{subject}: {told['inputs']} inputs, the slowest {told['slowest_s']} s")
    assert told == {"inputs": INPUTS[subject], "failures": 0, "slowest_s": told["slowest_s"]}
