"""What can be asked on the command line: the commands and their options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from launchdeck import __version__
from launchdeck.commands import values

COMMANDS: Final = {
    "serve": "the same as the window, without one: for servers",
    "selftest": "deploy the demo model, ask it one question, stop it; tell how that went",
    "gpus": "list the GPUs of this machine",
    "models": "list the models that are found",
    "plan": "show what a launch would do: the command, the memory it takes, whether it fits",
    "deploy": "have the running application start a model, and watch it load",
    "status": "list what runs",
    "logs": "show what a model has written",
    "stop": "stop what runs",
    "completion": "print a script that completes commands and options in your shell",
}


def build_parser() -> argparse.ArgumentParser:
    """Everything that can be asked; the man page and the completions are made from this as well."""
    parser = argparse.ArgumentParser(
        prog="launchdeck",
        description="Deploy language and embedding models on your own GPUs. Without a command the window opens.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"launchdeck {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log what happens in detail, on standard error")
    _add_inventory(parser)
    _add_api_port(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    added = {name: commands.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    for name in added.keys() - {"serve", "completion"}:
        added[name].add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    added["selftest"].add_argument("--screenshot", type=Path, metavar="FILE", help="save the window while it runs")
    added["models"].add_argument(
        "folders", nargs="*", type=Path, metavar="DIR", help="instead of the settings' folders"
    )
    _add_inventory(added["gpus"])
    added["gpus"].add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    _add_inventory(added["serve"])
    _add_api_port(added["serve"])
    _add_plan_options(added["plan"])
    _add_inventory(added["plan"])
    _add_plan_options(added["deploy"])
    _add_deploy_options(added["deploy"])
    how = added["status"].add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="again at every change, until Ctrl-C")
    how.add_argument("--names", action="store_true", help="the models' names alone, one a line")
    added["logs"].add_argument("id", metavar="ID", help="a deployment's id or model name")
    added["logs"].add_argument("--follow", "-f", action="store_true", help="go on until the model ends, or Ctrl-C")
    added["logs"].add_argument(
        "-n",
        "--lines",
        type=values.line_count,
        default=50,
        metavar="N",
        help="how many of the last lines (default: 50)",
    )
    added["completion"].add_argument("shell", choices=("bash", "zsh", "fish"), help="whose completion it is to be")
    what = added["stop"].add_mutually_exclusive_group(required=True)
    what.add_argument("id", nargs="?", metavar="ID", help="a deployment's id or model name")
    what.add_argument("--all", action="store_true", help="everything that runs")
    return parser


def _add_api_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--api-port",
        type=values.port,
        metavar="N",
        default=argparse.SUPPRESS,
        help="port of the HTTP interface for this run; 0: any that is free (default: as in the settings)",
    )


def _add_inventory(parser: argparse.ArgumentParser) -> None:
    # SUPPRESS: a command's own default must not undo what stands before the command
    parser.add_argument(
        "--inventory",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="use the GPUs recorded in FILE (made by 'launchdeck gpus --json') instead of this machine's",
    )


def _add_plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a GGUF file, a folder in safetensors format, or the name of a model that is found",
    )
    parser.add_argument(
        "--gpu",
        type=values.devices,
        metavar="GPU[,GPU]|cpu",
        help="GPUs by their place, UUID or PCI address ('launchdeck gpus --json' has them all), or cpu",
    )
    parser.add_argument(
        "--layers",
        type=values.layers,
        default="auto",
        metavar="N|all|auto",
        help="layers on the GPUs (default: auto)",
    )
    parser.add_argument("--ctx", type=int, metavar="N", help="context in tokens, shared by the slots")
    parser.add_argument("--parallel", type=int, metavar="N", help="slots: requests answered at the same time")
    parser.add_argument("--cache-type-k", default="f16", metavar="T", help="type of the K cache (default: f16)")
    parser.add_argument("--cache-type-v", default="f16", metavar="T", help="type of the V cache (default: f16)")
    parser.add_argument("--flash-attn", choices=("auto", "on", "off"), default="auto", help="default: auto")
    parser.add_argument(
        "--split", type=values.split, metavar="even|W,W", help="shares of several GPUs (default: by their free memory)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the engine's)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="tokens in a batch (default: 2048)")
    parser.add_argument("--ubatch-size", type=int, metavar="N", help="of these at once (default: 512)")
    parser.add_argument("--n-cpu-moe", type=int, default=0, metavar="N", help="blocks whose experts stay in RAM")
    parser.add_argument(
        "--cache-ram",
        type=values.mebibytes,
        metavar="MIB",
        help="RAM in which prompts may be kept, 0: none (default: as much as is well to spare, at most 8192)",
    )
    parser.add_argument(
        "--extra-args", type=values.words, default="", metavar="WORDS", help="more arguments, as one word in quotes"
    )
    parser.add_argument("--serve", choices=("llm", "embedding"), help="serve as (default: what the model is made for)")
    parser.add_argument("--backend", choices=("auto", "vllm", "llama"), default="auto", help="default: auto")


def _add_deploy_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="NAME", help="the model's name in requests (default: the file's)")
    parser.add_argument("--force", action="store_true", help="start it although it does not fit")
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="return when the model is ready, or as soon as loading has begun (default: --wait)",
    )
