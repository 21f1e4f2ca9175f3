"""What may be asked over HTTP, checked strictly: a refusal is a sentence that names the field."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticCustomError

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import LONGEST_UUID, Inventory
from launchdeck.domain.request import CPU_ONLY, MOST_GPUS, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.hardware.named import uuids_of

Body = TypeVar("Body", bound=BaseModel)

LONGEST_TEXT: Final = 4096
"""Characters: as many as Linux takes bytes in a path."""
LONGEST_WORD: Final = 256
"""Characters of one entry of a list."""
MOST_ITEMS: Final = 128
MOST_PROBLEMS: Final = 8
LONGEST_PLACE: Final = 100

_STRICT: Final = ConfigDict(extra="forbid", protected_namespaces=())

MEANINGS: Final = {
    "model_path": "The model's file: an absolute path inside the library's folders.",
    "server_type": "What it is served as.",
    "model_id": "Its name in requests; left out: the file's.",
    "gpu_uuids": "GPUs by their UUID or PCI address, in the wanted order; [] the CPU; null lets Launchdeck choose.",
    "rpc_workers": "RPC workers of llama.cpp that stand in the settings, used as devices after the GPUs.",
    "n_gpu_layers": "-1 all, 0 the CPU, N that many, null the largest number that fits.",
    "n_ctx": "Context in tokens, shared by the slots; null the model's own, at most 8192.",
    "n_parallel": "Slots: requests answered at the same time.",
    "cache_type_k": "Type of the K cache.",
    "cache_type_v": "Type of the V cache.",
    "backend": "The family of engines.",
    "engine_id": "One certain engine.",
    "flash_attention": "`auto`: wherever the engine can.",
    "split": "Each device's share; [] equal ones; null by free memory.",
    "n_threads": "Threads on the CPU; null leaves it to the engine.",
    "n_batch": "Tokens in a batch; null leaves it to the engine.",
    "n_ubatch": "Tokens computed at once; null leaves it to the engine.",
    "cache_ram_mib": "MiB of RAM in which prompts may be kept; 0 none, null as much as is well to spare.",
    "n_cpu_moe": "The experts of that many blocks stay in RAM.",
    "extra_args": "Further arguments for llama-server; only harmless ones are taken.",
}
_PLACES: Final = {
    "gpu_index": (int | None, Field(None, description="One place in the GPU list, instead of gpu_uuids.")),
    "gpu_indices": (
        tuple[int, ...] | None,
        Field(None, description="Places in the GPU list, in the wanted order, instead of gpu_uuids; [] the CPU."),
    ),
}
_WORDS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "string_type": "has to be a text",
    "path_type": "has to be a text",
    "tuple_type": "has to be a list",
    "list_type": "has to be a list",
    "string_too_long": "has more than {max_length} characters",
    "too_long": "has more than {max_length} entries",
    "model_type": "has to be an object",
    "model_attributes_type": "has to be an object",
}


def _load_fields() -> Iterator[tuple[str, Any]]:
    """The fields of every other door's request, GPUs by their places, and `force`."""
    hints = get_type_hints(ModelLoadRequest)
    for field in dataclasses.fields(ModelLoadRequest):
        default = ... if field.default is dataclasses.MISSING else field.default
        if field.name in MEANINGS:
            hint = hints[field.name]
            is_gpus = field.name == "gpu_uuids"  # `_checked` has words of its own for these
            yield field.name, (hint if is_gpus else _limited(hint), Field(default, description=MEANINGS[field.name]))
    yield "force", (bool, Field(False, description="Start it although it does not fit."))
    yield from _PLACES.items()


def _limited(hint: Any, longest: int = LONGEST_TEXT) -> Any:
    """The same type, but no text and no list in it is longer than any that could be meant."""
    kinds = get_args(hint)
    if hint is str:
        return Annotated[str, Field(max_length=longest)]
    if hint is Path:
        return Annotated[Path, BeforeValidator(_short), Field(json_schema_extra={"maxLength": LONGEST_TEXT})]
    if get_origin(hint) in {Union, UnionType}:
        return reduce(or_, map(_limited, kinds))
    if get_origin(hint) is tuple:
        entry = _limited(kinds[0], LONGEST_WORD)
        return Annotated[GenericAlias(tuple, (entry, ...)), Field(max_length=MOST_ITEMS)]
    return hint


def _short(text: object) -> object:
    """Raises PydanticCustomError."""
    if isinstance(text, str) and len(text) > LONGEST_TEXT:
        raise PydanticCustomError("string_too_long", "too long", {"max_length": LONGEST_TEXT})
    return text


LoadBody: Final[type[BaseModel]] = create_model("LoadRequest", __config__=_STRICT, **dict(_load_fields()))


class NameBody(BaseModel):
    """One deployment."""

    model_config = _STRICT
    model_id: str = Field(max_length=LONGEST_TEXT, description="The model's name, or the deployment's id.")


class MarkBody(BaseModel):
    """Whether a deployment is started again when Launchdeck starts."""

    model_config = _STRICT
    model_id: str = Field(max_length=LONGEST_TEXT, description="The model's name, or the deployment's id.")
    enabled: bool = Field(strict=True, description="Whether it starts with Launchdeck from now on.")


class EmptyBody(BaseModel):
    """Nothing but an object: there is nothing to say."""

    model_config = _STRICT


def parse(kind: type[Body], body: bytes) -> Body:
    """Raises LaunchdeckError that names every field that is wrong."""
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems = "; ".join(map(_sentence, details[:MOST_PROBLEMS]))
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("The request cannot be used: {problems}.", problems=problems),
            Message("The description of the interface at /docs has every field."),
        ) from None


def load_request(body: BaseModel, inventory: Inventory) -> ModelLoadRequest:
    """The request that every door makes. Whether it is forced is no part of it.

    Raises:
        LaunchdeckError: it names GPUs in two ways that do not agree, or so that it is not clear which are meant.
    """
    values = {name: getattr(body, name) for name in type(body).model_fields}
    del values["force"]
    index, indices, uuids = values.pop("gpu_index"), values.pop("gpu_indices"), values["gpu_uuids"]
    named = {"gpu_index": None if index is None else (index,), "gpu_indices": indices, "gpu_uuids": uuids}
    given = {name: _meant(gpus, inventory) for name, gpus in named.items() if gpus is not None}
    if len(set(given.values())) > 1:
        raise LaunchdeckError.of(
            Cause.BAD_GPU,
            Message("The request has both {names}, which do not name the same GPUs.", names=" and ".join(given)),
            Message("Give one of them."),
        )
    return ModelLoadRequest(**values | {"gpu_uuids": next(iter(given.values()), None)})


def _meant(gpus: Sequence[int | str], inventory: Inventory) -> tuple[str, ...]:
    """The GPUs that have these places or names. Without GPUs the list holds the CPU, in the first place.

    Raises:
        LaunchdeckError: more, or longer ones, than any machine has.
    """
    names = [str(gpu) for gpu in gpus]
    if len(names) > MOST_GPUS or any(not 1 <= len(name) <= LONGEST_UUID for name in names):
        raise LaunchdeckError.of(
            Cause.BAD_GPU,
            Message(
                "A request names at most {count} GPUs, each with 1 to {limit} characters.",
                count=MOST_GPUS,
                limit=LONGEST_UUID,
            ),
        )
    if not inventory.gpus and tuple(gpus) == (inventory.cpu.gpu.index,):
        return CPU_ONLY
    return uuids_of(names, inventory)


def _sentence(detail: ErrorDetails) -> str:
    if detail["type"] == "json_invalid":
        return f"it is no JSON ({detail['ctx']['error']})"
    if detail["type"] == "enum":
        words = f"has to be {detail['ctx']['expected']}"
    else:
        known = _WORDS.get(detail["type"])
        words = detail["msg"] if known is None else known.format_map(detail.get("ctx", {}))
    place = ".".join(str(part) for part in detail["loc"])
    place = place if place.isprintable() and len(place) <= LONGEST_PLACE else ascii(place[:LONGEST_PLACE])
    return f"{place or 'the body'} {words}"
