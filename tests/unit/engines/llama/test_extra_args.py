"""Arguments of an expert's own."""

from __future__ import annotations

import pytest

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.engines.llama.extra_args import ALLOWED, options

FORBIDDEN = (
    "--host", "--port", "--path", "--api-key", "--api-key-file", "--log-file", "--media-path", "--tools", "--agent",
    "--mcp-servers-config", "--mcp-servers-json", "--model", "--model-url", "--hf-repo", "--hf-token", "--lora",
    "--grammar-file", "--chat-template-file", "--slot-save-path", "--props", "--reuse-port", "--ssl-key-file",
    "--n-gpu-layers", "--device", "--rpc", "--override-tensor", "--no-kv-offload", "--fit",
)  # fmt: skip


def test_flags_take_the_values_that_are_theirs() -> None:
    words = ("--temp", "0.7", "--no-warmup", "--reasoning", "off")
    assert list(options(words)) == [("--temp", "0.7"), ("--no-warmup",), ("--reasoning", "off")]


@pytest.mark.parametrize("flag", FORBIDDEN)
def test_nothing_that_opens_a_door_or_that_we_state_ourselves(flag: str) -> None:
    with pytest.raises(LaunchdeckError, match="cannot be an extra argument"):
        list(options(("--temp", "1", flag, "x")))


@pytest.mark.parametrize("words", [("--temp",), ("--temp", "--seed"), ("--seed", "-1"), ("--seed", "--host")])
def test_a_value_is_there_and_does_not_read_as_an_option(words: tuple[str, ...]) -> None:
    with pytest.raises(LaunchdeckError, match="needs a value") as caught:
        list(options(words))
    assert caught.value.failure.fixes[0].changes == (("extra_args", ()),)


@pytest.mark.parametrize("word", ["0.7", "--temp=0.7", "-t", "", "--TEMP"])
def test_words_without_a_flag_and_flags_in_other_spellings_are_refused(word: str) -> None:
    with pytest.raises(LaunchdeckError, match="cannot be an extra argument"):
        list(options((word,)))


def test_none_of_them_is_one_that_the_command_has_already() -> None:
    stated = {"--ctx-size", "--parallel", "--metrics", "--alias", "--threads", "--flash-attn", "--batch-size"}
    assert not stated & ALLOWED.keys()
