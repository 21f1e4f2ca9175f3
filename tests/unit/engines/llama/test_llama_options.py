"""What the words of a command line do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.samples import LLAMA_SERVER
from launchdeck.domain.request import FlashAttention
from launchdeck.engines.llama.argv import LlamaLaunch, llama_argv
from launchdeck.engines.llama.options import meaning_at

COMMAND = "CUDA_VISIBLE_DEVICES=GPU-1 LLAMA_API_KEY='***' /opt/llama-server --ctx-size 8192 --kv-unified --temp 0.5"


@pytest.mark.parametrize(
    ("at", "name"),
    [
        ("CUDA_", "CUDA_VISIBLE_DEVICES"),
        ("GPU-1", "CUDA_VISIBLE_DEVICES"),
        ("'***'", "LLAMA_API_KEY"),
        ("/opt", None),
        ("--ctx", "--ctx-size"),
        ("8192", "--ctx-size"),
        ("--kv", "--kv-unified"),
        ("0.5", "--temp"),
    ],
)
def test_a_value_belongs_to_its_option(at: str, name: str | None) -> None:
    found = meaning_at(COMMAND, COMMAND.index(at))
    assert (found[0] if found else None) == name


def test_nothing_is_where_no_option_is() -> None:
    assert meaning_at("", 0) is None
    assert meaning_at("llama-server", 3) is None


def test_everything_that_we_write_ourselves_has_a_meaning_of_its_own() -> None:
    launch = LlamaLaunch(
        model_path=Path("/m.gguf"), alias="m", host="127.0.0.1", port=1, n_ctx=1, n_parallel=1, n_gpu_layers=1,
        devices=("CUDA0", "RPC0"), split=(1.0, 2.0), rpc_workers=("h:1",), embedding=True, pooling="mean",
        cache_type_k="q8_0", cache_type_v="q8_0", flash_attention=FlashAttention.ON, n_threads=1, n_batch=1, n_ubatch=1,
        n_cpu_moe=1,
    )  # fmt: skip
    command = " ".join(llama_argv(LLAMA_SERVER, launch))
    extra = meaning_at("llama-server --temp 1", 15)
    assert extra is not None
    for option in (word for word in command.split() if word.startswith("--")):
        found = meaning_at(command, command.index(option))
        assert found is not None
        assert found[0] == option
        assert found[1] != extra[1], option
