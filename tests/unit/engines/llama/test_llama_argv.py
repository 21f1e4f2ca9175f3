"""The command line of llama-server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.samples import LLAMA_SERVER
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.request import FlashAttention
from launchdeck.engines.llama.argv import LlamaLaunch, llama_argv

LAUNCH = LlamaLaunch(
    model_path=Path("/models/a b.gguf"),
    alias="a",
    host="127.0.0.1",
    port=8001,
    n_ctx=8192,
    n_parallel=4,
    n_gpu_layers=20,
    devices=("CUDA0",),
    split=(12.5,),
)


def options(launch: LlamaLaunch, **engine: object) -> dict[str, str | None]:
    """The options with their values, None for a switch. Each option stands there once, apart from its value."""
    words = llama_argv(replace(LLAMA_SERVER, **engine), launch)[1:]
    found: dict[str, str | None] = {}
    for word in words:
        if word.startswith("--"):
            assert word not in found
            assert "=" not in word
            found[word] = None
        else:
            found[list(found)[-1]] = word
    return found


def test_everything_that_defaults_decide_differently_is_stated() -> None:
    assert llama_argv(LLAMA_SERVER, LAUNCH)[0] == "/opt/llama/llama-server"
    assert options(LAUNCH) == {
        "--model": "/models/a b.gguf",
        "--alias": "a",
        "--host": "127.0.0.1",
        "--port": "8001",
        "--ctx-size": "8192",
        "--parallel": "4",
        "--kv-unified": None,
        "--fit": "off",
        "--n-gpu-layers": "20",
        "--device": "CUDA0",
        "--metrics": None,
        "--log-verbosity": "4",
    }


@pytest.mark.parametrize("layers", [1, 31, 127])
def test_the_number_of_layers_goes_there_unchanged(layers: int) -> None:
    assert options(replace(LAUNCH, n_gpu_layers=layers))["--n-gpu-layers"] == str(layers)


@pytest.mark.parametrize("changes", [{"n_gpu_layers": 0}, {"devices": (), "split": (), "n_gpu_layers": 0}])
def test_no_layers_means_no_device_at_all(changes: dict[str, object]) -> None:
    launch = replace(LAUNCH, **changes, rpc_workers=("127.0.0.1:50052",))
    assert options(launch)["--device"] == "none"
    assert options(launch)["--n-gpu-layers"] == "0"
    assert "--rpc" not in options(launch)


def test_several_devices_with_their_shares_and_their_workers() -> None:
    launch = replace(
        LAUNCH, devices=("CUDA0", "RPC0", "RPC1"), split=(12.6, 4.1, 0.1), rpc_workers=("127.0.0.1:1", "[::1]:2")
    )
    found = options(launch)
    assert found["--rpc"] == "127.0.0.1:1,[::1]:2"
    assert found["--device"] == "CUDA0,RPC0,RPC1"
    assert found["--tensor-split"] == "12.6,4.1,0.1"


def test_cache_types_only_where_they_are_not_the_usual_ones() -> None:
    found = options(replace(LAUNCH, cache_type_v="q8_0"))
    assert found["--cache-type-v"] == "q8_0"
    assert "--cache-type-k" not in found


def test_an_embedding_server_is_told_so() -> None:
    found = options(replace(LAUNCH, embedding=True, pooling="mean"))
    assert "--embeddings" in found
    assert found["--pooling"] == "mean"


def test_what_was_asked_for_otherwise_than_usual() -> None:
    launch = replace(LAUNCH, flash_attention=FlashAttention.OFF, n_threads=6, n_batch=1024, n_ubatch=256, n_cpu_moe=12)
    found = options(launch)
    wanted = {
        "--flash-attn": "off",
        "--threads": "6",
        "--batch-size": "1024",
        "--ubatch-size": "256",
        "--n-cpu-moe": "12",
    }
    assert wanted.items() <= found.items()
    assert not wanted.keys() & options(LAUNCH).keys()
    assert "--n-cpu-moe" not in options(replace(launch, n_gpu_layers=0))  # everything is in RAM then


def test_something_asked_for_that_the_engine_has_no_option_for_is_refused() -> None:
    engine = replace(LLAMA_SERVER, flags=frozenset({"--n-gpu-layers", "--threads"}))
    assert "--threads" in llama_argv(engine, replace(LAUNCH, n_threads=2))
    with pytest.raises(LaunchdeckError, match="no option --n-cpu-moe"):
        llama_argv(engine, replace(LAUNCH, n_cpu_moe=1))
    with pytest.raises(LaunchdeckError, match="no option --temp"):
        llama_argv(engine, replace(LAUNCH, extra_args=("--temp", "0")))


def test_a_model_that_brings_its_pooling_keeps_it() -> None:
    assert "--pooling" not in options(replace(LAUNCH, embedding=True))


def test_an_option_that_the_engine_does_not_know_is_left_out() -> None:
    known = frozenset(options(LAUNCH)) - {"--fit", "--device"}
    assert set(options(LAUNCH, flags=known)) == known


@pytest.mark.parametrize(
    "changes", [{"model_path": Path("-x.gguf")}, {"alias": "-a"}, {"rpc_workers": ("-h:1",)}, {"devices": ("-d",)}]
)
def test_a_value_that_reads_as_an_option_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(LaunchdeckError, match="begins with '-'"):
        llama_argv(LLAMA_SERVER, replace(LAUNCH, **changes))
