from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import samples
from launchdeck.domain.errors import Failure
from launchdeck.engines.adapter import Findings
from launchdeck.engines.llama.failures import RULES
from launchdeck.engines.planner import Planner
from launchdeck.engines.refusals import refusal
from launchdeck.settings.schema import Settings


@pytest.fixture
def plan():
    """On GPU 3 and then GPU 1, which the engine counts from 0, and on a worker."""
    devices = tuple(samples.device_estimate(name, 13, 12) for name in ("GPU 3", "GPU 1", "RPC 10.0.0.1:9"))
    names = ("CUDA0", "CUDA1", "RPC0[10.0.0.1:9]")
    return replace(samples.plan(devices=devices), gpus=samples.planned_gpus(3, 1), device_names=names)


def advised(plan, line: str) -> Failure:
    failure = RULES.apply(Findings(), line).failure
    assert failure is not None
    return Planner(Settings).advise(plan, failure)


@pytest.mark.parametrize(("device", "named"), [("CUDA0", "GPU 3 (RTX 4090)"), ("CUDA1", "GPU 1 (RTX 4090)")])
def test_a_failure_names_the_gpu_and_not_what_the_engine_calls_it(plan, device: str, named: str):
    line = f"llama_model_load: error loading model: unable to allocate {device} buffer"
    failure = advised(plan, line)
    assert str(failure.message) == f"The weights do not fit on {named}."
    assert failure.evidence == (line,)


def test_what_is_none_of_the_plans_gpus_keeps_its_name(plan):
    for device in ("RPC0[10.0.0.1:9]", "CUDA7", "CPU"):
        assert str(advised(plan, f"unable to allocate {device} buffer").message).endswith(f"on {device}.")


def test_a_refusal_names_the_gpu_as_well(plan):
    assert "13.0 GiB on GPU 3 (RTX 4090), 12.0 free" in str(refusal(plan).message)
    on_worker = replace(plan, gpus=(), estimate=replace(plan.estimate, devices=plan.estimate.devices[2:]))
    assert "on RPC 10.0.0.1:9, 12.0 free" in str(refusal(on_worker).message)
