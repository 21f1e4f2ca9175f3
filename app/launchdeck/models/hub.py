"""Models on the Hugging Face hub, or on any server that speaks like it (HF_ENDPOINT)."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.models.download import PART_SUFFIX, NamedFile, Progress, RemoteFile, download_all, fetched_bytes
from launchdeck.models.gguf import split_name

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

_FOUND_LIMIT = 50
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BESIDES_WEIGHTS = (".json", ".txt", ".model", ".jinja")


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to download: a GGUF file, all parts of a split one, or a whole model in safetensors format."""

    repository: str
    name: str
    files: tuple[NamedFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.remote.size_bytes for file in self.files)

    def folder(self, models: Path) -> Path:
        """Where it belongs: OWNER/NAME below our folder for models."""
        return models.joinpath(*self.repository.split("/"))

    def fetched_bytes(self, models: Path) -> int:
        """How much of it is on the disk already, from an earlier try."""
        return sum(fetched_bytes(self.folder(models) / file.name, file.remote) for file in self.files)


def search(text: str) -> list[str]:
    """The repositories that match, the most downloaded first. Touches the network; belongs into a worker thread.

    Raises:
        LaunchdeckError: the hub does not answer.
    """
    with _hub() as api:
        return [str(model.id) for model in api.list_models(search=text, sort="downloads", limit=_FOUND_LIMIT)]


def choices(repository: str) -> list[Choice]:
    """What there is to download in this repository, the smallest first. Belongs into a worker thread.

    Raises:
        LaunchdeckError: the hub does not answer, or knows no such repository.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("{name} is no repository.", name=repository),
            Message("A repository is named OWNER/NAME."),
        )
    with _hub() as api:
        siblings = api.model_info(repository, files_metadata=True).siblings or []
        files = [_file(api, repository, sibling) for sibling in siblings if _is_wanted(sibling.rfilename)]
    return sorted((*_gguf(repository, files), *_safetensors(repository, files)), key=lambda choice: choice.size_bytes)


def begun(models: Path) -> list[str]:
    """The repositories of downloads below this folder that were not finished. Touches the disk."""
    parts = (part.relative_to(models).parts for part in models.rglob(f"*{PART_SUFFIX}"))
    return sorted({"/".join(part[:2]) for part in parts if len(part) > 2})


async def fetch(choice: Choice, models: Path, on_progress: Callable[[Progress], None]) -> Path:
    """Download all files of it; gives the folder. Cancelled, it keeps what has come, and goes on from there next time.

    Raises:
        LaunchdeckError: see `download`.
    """
    folder = choice.folder(models)
    await download_all(choice.files, folder, on_progress)
    return folder


def _gguf(repository: str, files: list[NamedFile]) -> Iterator[Choice]:
    """Every GGUF file, and the parts of a split one together if all of them are there."""
    parts: dict[tuple[str, int], list[NamedFile]] = {}
    for file in files:
        if not file.name.lower().endswith(".gguf"):
            continue
        shard = split_name(PurePosixPath(file.name).name)
        if shard is None:
            yield Choice(repository, file.name, (file,))
        else:
            prefix, _, count = shard
            parts.setdefault((str(PurePosixPath(file.name).with_name(prefix)), count), []).append(file)
    for (name, count), shards in parts.items():
        if len(shards) == count:
            yield Choice(repository, name, tuple(sorted(shards, key=lambda shard: shard.name)))


def _safetensors(repository: str, files: list[NamedFile]) -> Iterator[Choice]:
    """The files at the top; what lies in folders are other forms of the same."""
    top = [file for file in files if "/" not in file.name]
    if any(file.name == "config.json" for file in top):
        weights = [file for file in top if file.name.endswith(".safetensors")]
        if weights:
            others = [file for file in top if file.name.endswith(_BESIDES_WEIGHTS)]
            yield Choice(repository, "safetensors", (*others, *weights))


def _file(api: HfApi, repository: str, sibling: Any) -> NamedFile:
    """A mirror that lists no sizes is asked for each file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415 (see _hub)

    url = hf_hub_url(repository, sibling.rfilename, endpoint=api.endpoint)
    headers = {"Authorization": f"Bearer {api.token}"} if api.token else {}
    size_bytes, sha256 = sibling.size, sibling.lfs.sha256 if sibling.lfs else None
    if size_bytes is None:
        told = get_hf_file_metadata(url, token=api.token, endpoint=api.endpoint)
        size_bytes = told.size
        sha256 = told.etag if told.etag and _SHA256.fullmatch(told.etag) else None
    if size_bytes is None:
        raise LaunchdeckError.of(
            Cause.NOT_FOUND,
            Message("The hub does not tell how long {file} is.", file=sibling.rfilename),
            Message("Name another hub in HF_ENDPOINT."),
        )
    return NamedFile(sibling.rfilename, RemoteFile(url, size_bytes, sha256, headers))


def _is_wanted(name: str) -> bool:
    """Whether it may belong to a model, and, being a name from the network, stays in the folder that it is put into."""
    path = PurePosixPath(name)
    if not name.lower().endswith((".gguf", ".safetensors", *_BESIDES_WEIGHTS)):
        return False
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name


def _token() -> str | None:
    """That of the environment (HF_TOKEN), of `hf auth login`, or, where the package keyring is installed, the
    password of `launchdeck` for `huggingface` in the system's keyring.
    """
    from huggingface_hub import get_token  # noqa: PLC0415 (as in `_hub`)

    token = get_token()
    if token is not None or importlib.util.find_spec("keyring") is None:
        return token
    import keyring  # noqa: PLC0415 (an optional package)
    from keyring.errors import KeyringError  # noqa: PLC0415

    try:
        return keyring.get_password("huggingface", "launchdeck") or None
    except KeyringError as error:
        logger.warning("The keyring does not answer (%s): no token is sent", type(error).__name__)
        return None


@contextmanager
def _hub() -> Iterator[HfApi]:
    """The hub, with our token; what it answers badly becomes a sentence."""
    import httpx2  # noqa: PLC0415
    from huggingface_hub import HfApi  # noqa: PLC0415 (takes half a second, and few starts need it)

    try:
        yield HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=_token())
    except (httpx2.HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise LaunchdeckError.of(
            Cause.NOT_FOUND,
            Message("The hub does not answer ({reason}).", reason=status or type(error).__name__),
            Message("Check the network, the name, and HF_TOKEN for a model that is for members only."),
        ) from error
