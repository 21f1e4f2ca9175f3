from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes import samples
from fakes.serving import fake_planner
from launchdeck.domain.deployment import Deployment, Exit, State
from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineKind, LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.serving.records.codec import from_json, to_json
from launchdeck.serving.records.records import ShimStatus, read_records
from launchdeck.serving.shim.processes import boot_id
from launchdeck.serving.shim.record import RECORD_VERSION
from launchdeck.serving.spec import build_spec
from launchdeck.serving.sweeping import Mark
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST = ModelLoadRequest(Path("/models/demo.gguf"), gpu_uuids=("GPU-0", "GPU-1"), n_gpu_layers=None)


def plan_of(**switches: Any) -> LaunchPlan:
    return fake_planner(**switches)(REQUEST, 8001)


def through_json(kind: type, value: object) -> object:
    return from_json(kind, json.loads(json.dumps(to_json(value))))


def test_a_plan_comes_back_as_it_was() -> None:
    plan = plan_of()
    assert through_json(LaunchPlan, plan) == plan
    assert str(plan.reasons[0]) == str(through_json(LaunchPlan, plan).reasons[0]) == "The model is a GGUF file."


def test_a_failure_comes_back_with_its_nested_sentences() -> None:
    failure = Failure(
        Cause.STALLED,
        Message("{what} stalled at {place}.", what=Message("Loading"), place=3),
        evidence=("a", "b"),
        fixes=(Fix(Message("Less"), (("n_ctx", 4096), ("gpu_uuids", ("GPU-0", "GPU-1")))),),
    )
    assert through_json(Failure, failure) == failure


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Exit, {"code": "1", "signal": None}),
        (Exit, {"code": True, "signal": None}),
        (Exit, {"code": 1}),
        (Exit, []),
        (Exit, None),
        (GpuType, "intel"),
        (tuple[int, ...], "12"),
        (tuple[int, int], [1]),
        (Message, {"template": 1}),
    ],
)
def test_what_is_not_of_the_type_is_refused(kind: Any, data: object) -> None:
    with pytest.raises(ValueError, match=r"is no|lacks|no <class|not a valid|argument|shorter"):
        from_json(kind, data)


FIRST_RECORD = Path(__file__).parents[2] / "data" / "records" / "version-1.json"
FACTS = {
    "version": 1,
    "id": "0000abcd",
    "boot_id": "boot",
    "created_at_s": 5,
    "socket": "/run/0000abcd.sock",
    "shim": [10, 100],
    "engine": [11, 101],
    "tree": [[11, 101], [12, 102]],
    "started_at_s": 5.5,
    "ended_at_s": None,
    "stop_asked": False,
    "exit_code": None,
    "start_error": None,
    "log_size": 0,
    "note": {"ready_at_s": 6.5},
}


A, B = "0000000a", "0000000b"


def facts_of(deployment_id: str, **changes: object) -> dict[str, object]:
    return FACTS | {"id": deployment_id, "socket": f"/run/{deployment_id}.sock", "plan": to_json(plan_of())} | changes


def write_record(folder: Path, name: str, facts: object) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "record.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))


def test_records_are_read_oldest_first(tmp_path: Path) -> None:
    write_record(tmp_path, B, facts_of(B, created_at_s=2))
    write_record(tmp_path, A, facts_of(A, created_at_s=3))
    first, second = read_records(tmp_path)
    assert (first.status.id, second.status.id) == (B, A)
    assert first.plan == plan_of()
    assert first.status.tree == ((11, 101), (12, 102))
    assert first.status.note.ready_at_s == 6.5


VALUE = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "value",
    ["", "0", VALUE[:32], VALUE[1:], VALUE + "0", VALUE.upper(), VALUE[:-1] + "g", VALUE + "\n", 5, [VALUE], True],
)
def test_a_record_with_a_mark_that_is_none_is_set_aside(tmp_path: Path, value: object) -> None:
    write_record(tmp_path, A, facts_of(A, mark=value))
    told: list[Message] = []
    assert read_records(tmp_path, told.append) == []
    assert len(told) == 1


def survivors_of(**changes: object) -> tuple[list[tuple[int, int]], Mark | None]:
    status = ShimStatus.of(facts_of(A, **{"boot_id": boot_id(), "mark": VALUE} | changes))
    return status.survivors(), status.survivors_mark()


def test_what_may_have_outlived_a_shim_is_of_this_boot_and_younger() -> None:
    tree = [(10, 100), (11, 101), (11, 101), (12, 102)]
    assert survivors_of() == (tree, Mark(A, VALUE, since=100))
    assert survivors_of(mark=None) == (tree, None)
    assert survivors_of(tree=[[12, 99], [13, 100]])[0] == [(10, 100), (11, 101), (13, 100)]
    nothing = ([], None)
    assert survivors_of(boot_id="another") == survivors_of(ended_at_s=6.0) == survivors_of(shim=None) == nothing


def test_the_mark_is_not_shown() -> None:
    assert VALUE not in repr(ShimStatus.of(facts_of(A, mark=VALUE)))


def test_a_name_that_is_no_text_is_a_name(tmp_path: Path) -> None:
    """Names of files are bytes; in Python's texts some of these are halves of surrogate pairs."""
    model = Path(os.fsdecode(b"/models/\xff\xfe.gguf"))
    plan = fake_planner()(replace(REQUEST, model_path=model), 8001)
    socket = os.fsdecode(b"/run/\xff/0000000a.sock")
    write_record(tmp_path, A, facts_of(A, plan=to_json(plan), socket=socket))
    (record,) = read_records(tmp_path)
    assert record.plan.request.model_path == model
    assert str(record.status.socket) == socket


def test_a_record_of_the_first_version_is_read_for_ever(tmp_path: Path) -> None:
    """It was written by a shim of version 1; whoever upgrades has some of these, with a model behind each."""
    write_record(tmp_path, "fbe8cdec", FIRST_RECORD.read_text())
    (record,) = read_records(tmp_path)
    assert record.status.note.ready_at_s is not None
    plan = record.plan
    assert (plan.model_id, plan.port, plan.n_ctx, plan.engine.kind) == ("smol", plan.port, 256, EngineKind.LLAMA_SERVER)
    assert plan.request.gpu_uuids == ()
    assert plan.gpus == ()
    assert plan.argv[-1] == "4"


def test_a_record_of_a_newer_version_stays_where_it_is_and_is_told(tmp_path: Path) -> None:
    newer = json.dumps({"version": RECORD_VERSION + 1, "id": "a", "fleet": {"what": "nobody knows"}})
    write_record(tmp_path, A, newer)
    told: list[Message] = []
    assert read_records(tmp_path, told.append) == []
    assert (tmp_path / A / "record.json").read_text() == newer
    (problem,) = told
    assert "newer version of Launchdeck" in str(problem)
    assert str(tmp_path / A / "record.json") in str(problem)


@pytest.mark.parametrize(
    "facts",
    ["", "{", "[]", '"x"', json.dumps(FACTS), json.dumps(FACTS | {"version": "2"}), "\x00" * 100, "[" * 100_000],
)
def test_a_broken_record_is_kept_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, facts: str) -> None:
    write_record(tmp_path, A, facts)
    assert read_records(tmp_path) == []
    assert (tmp_path / A / "record.json.corrupt").exists()
    assert "record.json.corrupt" in caplog.text
    caplog.clear()
    assert read_records(tmp_path) == []
    assert not caplog.text  # it is told once


def test_no_folder_means_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none") == []


@pytest.mark.parametrize(("code", "ended"), [(0, Exit(0, None)), (3, Exit(3, None)), (-9, Exit(None, 9)), (None, None)])
def test_an_exit_code_is_a_code_or_a_signal(code: int | None, ended: Exit | None) -> None:
    assert ShimStatus.of(FACTS | {"exit_code": code}).exit == ended


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"\x7fELF of another kind", 0o755, "another kind of computer"),
        (b"#!/bin/true", 0o644, "chmod +x"),
        (None, 0, "Check that the file is there"),
    ],
)
def test_what_cannot_be_started_says_what_to_do(tmp_path: Path, content: bytes | None, mode: int, words: str) -> None:
    program = tmp_path / "llama-server"
    if content is not None:
        program.write_bytes(content)
        program.chmod(mode)
    with pytest.raises(OSError, match="Errno") as caught:
        subprocess.run([program], check=False)
    failure = ShimStatus.of(FACTS | {"start_error": {"path": str(program), "reason": str(caught.value)}}).start_failure
    assert failure is not None
    assert failure.cause is Cause.START_FAILED
    assert str(program) in str(failure.message)
    assert words in str(failure.advice)


def spec_of(api_key: str | None, environ: Mapping[str, str], **settings: Any) -> dict[str, Any]:
    deployment = Deployment("abc", plan_of(), State.STARTING, created_at_s=5.0)
    return build_spec(
        deployment, api_key=api_key, paths=Paths.resolve(), settings=Settings(**settings), environ=environ
    )


def test_a_key_stands_in_the_environment_and_is_taken_out_of_the_log() -> None:
    spec = spec_of("key-123456", {"HF_TOKEN": "hf-123456", "PATH": "/bin"})
    assert spec["env"] == {"LLAMA_API_KEY": "key-123456"}
    assert spec["redact"] == ["hf-123456", "key-123456"]
    assert "key-123456" not in json.dumps({**spec, "env": {}, "redact": [], "secrets": {}})


def test_without_a_key_an_inherited_one_does_not_reach_the_engine() -> None:
    spec = spec_of(None, {"LLAMA_API_KEY": "the user's"})
    assert spec["env"] == {}
    assert "LLAMA_API_KEY" in spec["env_unset"]
    assert spec["secrets"] == {}


@pytest.mark.parametrize("deployment", [samples.deployment(), samples.failed_deployment()])
def test_every_part_of_a_plan_survives(deployment: Deployment) -> None:
    assert through_json(LaunchPlan, deployment.plan) == deployment.plan
    assert through_json(Deployment, deployment) == deployment
