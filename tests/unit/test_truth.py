"""What was recorded of llama.cpp's builds: whole, and with no more known differences than it says itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fakes.gguf_models import llama
from launchdeck.planning.llama.estimate import Device, Load
from truth.engine import VERSIONS
from truth.oracle import WITH_KNOWN_DIFFERENCES
from truth.recording import SUMMARY, Recording, path_of, question

if TYPE_CHECKING:
    from pathlib import Path

    from truth.oracle import Truth

LOAD = Load(0, 8192, 4, "f16", "f16", embedding=False, devices=(Device("CUDA0", None),), split=(1.0,))


@pytest.mark.parametrize("build", VERSIONS)
def test_the_summary_is_that_of_the_recording(build: str) -> None:
    assert json.loads(SUMMARY.read_text())[build] == Recording.of(path_of(build)).summary()


@pytest.mark.parametrize("build", VERSIONS.keys() - WITH_KNOWN_DIFFERENCES)
def test_a_build_that_the_estimate_follows_has_no_known_differences(build: str) -> None:
    assert Recording.of(path_of(build)).known == {}


def test_a_newer_build_was_asked_all_that_the_one_before_was() -> None:
    """And besides of architectures that only it knows."""
    older, newer = (Recording.of(path_of(build)).answers.keys() for build in VERSIONS)
    assert older < newer


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    recording = Recording.of(path_of("b11434"))
    files = [tmp_path / name for name in ("one", "other")]
    for file in files:
        recording.write(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_recipe_or_another_option_is_another_question(tmp_path: Path) -> None:
    model = llama(n_layer=6)
    one = question(model.write(tmp_path / "one"), "-c", "8192")
    assert one == question(model.write(tmp_path / "same"), "-c", "8192")
    assert one != question(model.write(tmp_path / "same"), "-c", "8193")
    assert one != question(llama(n_layer=7).write(tmp_path / "other"), "-c", "8192")


def test_what_was_never_asked_is_said_to_be_missing(tmp_path: Path, truth: Truth) -> None:
    path = llama(n_layer=6).write(tmp_path / "m.gguf")
    assert truth.memory(path, LOAD, [7])
    with pytest.raises(AssertionError, match=f"No answer of {truth.build}"):
        truth.memory(path, replace(LOAD, n_ctx=8191), [7])
    with pytest.raises(AssertionError, match=r"\['99'\]"):
        truth.memory(path, LOAD, [7, 99])
