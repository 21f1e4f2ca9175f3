"""Models on the Hugging Face hub, or on any server that speaks like it (HF_ENDPOINT)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.models.gguf.gguf import split_name
from launchdeck.models.hub_access import DEFAULT_ENDPOINT, Tell, ask_hub, endpoint, refused, token
from launchdeck.models.hub_answers import (
    ListedFile,
    is_besides_weights,
    is_repository,
    parse_found,
    parse_repository,
    sha256_of,
    size_of,
)
from launchdeck.network.download import Progress, download_all
from launchdeck.network.failures import AwayError, host_of
from launchdeck.network.landing import PART_SUFFIX, Kind, fetched_bytes, kind_of
from launchdeck.network.remote_file import NamedFile, RemoteFile

logger = logging.getLogger(__name__)

_FOUND_LIMIT = 50


def _not_told(_note: Message) -> None:
    """For whoever asks without a person in front of it: the log has it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to download: a GGUF file, all parts of a split one, or a whole model in safetensors format."""

    repository: str
    name: str
    files: tuple[NamedFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.remote.size_bytes for file in self.files)

    @property
    def unchecked(self) -> int:
        """How many of its files the hub tells no SHA-256 of: of those the size alone can be checked."""
        return sum(file.remote.sha256 is None for file in self.files)

    def folder(self, models: Path) -> Path:
        """Where it belongs: OWNER/NAME below our folder for models."""
        return models.joinpath(*self.repository.split("/"))

    def fetched_bytes(self, models: Path) -> int:
        """How much of it is on the disk already, from an earlier try."""
        return sum(fetched_bytes(self.folder(models) / file.name, file.remote) for file in self.files)


def host() -> str:
    """The hub's host, for sentences."""
    return host_of(os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT)


def search(text: str, tell: Tell = _not_told) -> list[str]:
    """The repositories that match, the most downloaded first. Touches the network; belongs into a background thread.

    `tell` takes what a person should know beside it.

    Raises:
        LaunchdeckError: the hub cannot be asked, does not answer, or refuses.
    """
    answer = ask_hub("/api/models", {"search": text, "sort": "downloads", "limit": _FOUND_LIMIT}, tell)
    return parse_found(answer.document(), host_of(answer.url))


def choices(repository: str, tell: Tell = _not_told) -> list[Choice]:
    """What there is to download in this repository, the smallest first. Belongs into a background thread.

    Raises:
        LaunchdeckError: see `search`; or the hub has no such repository.
    """
    if not is_repository(repository):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("{name} is no repository.", name=repository[:200]),
            Message("A repository is named OWNER/NAME: letters, digits, dots, '_' and '-', at most 96 of them each."),
        )
    answer = ask_hub(f"/api/models/{repository}", {"blobs": "true"}, tell, repository)
    listed = parse_repository(answer.document(), host_of(answer.url))
    sent = token(tell)
    files = list(_with_sizes(f"{endpoint()}/{repository}/resolve/main/", listed, sent.headers if sent else {}, tell))
    return sorted((*_gguf(repository, files), *_safetensors(repository, files)), key=lambda choice: choice.size_bytes)


def begun(models: Path) -> list[str]:
    """The repositories of downloads below this folder that were not finished. Touches the disk.

    A folder that cannot be read costs what is in it, and the log says so.
    """
    found = set()
    for folder, _, names in os.walk(models, onerror=lambda error: _unread(models, error)):
        repository = "/".join(Path(folder).relative_to(models).parts[:2])
        parts = (Path(folder) / name for name in names if name.endswith(PART_SUFFIX))
        if is_repository(repository) and any(kind_of(part) is Kind.FILE for part in parts):
            found.add(repository)
    return sorted(found)


def _unread(models: Path, error: OSError) -> None:
    if error.filename != str(models) or not isinstance(error, FileNotFoundError):
        logger.warning("%s cannot be read (%s): what was begun there is not known", error.filename, error.strerror)


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
        if len(shards) == count:  # their names differ, so these are all
            yield Choice(repository, name, tuple(sorted(shards, key=lambda shard: shard.name)))


def _safetensors(repository: str, files: list[NamedFile]) -> Iterator[Choice]:
    """The files at the top; what lies in folders are other forms of the same."""
    top = [file for file in files if "/" not in file.name]
    if any(file.name == "config.json" for file in top):
        weights = [file for file in top if file.name.endswith(".safetensors")]
        if weights:
            others = [file for file in top if is_besides_weights(file.name)]
            yield Choice(repository, "safetensors", (*others, *weights))


def _with_sizes(
    folder_url: str, listed: Sequence[ListedFile], headers: Mapping[str, str], tell: Tell
) -> Iterator[NamedFile]:
    """A mirror that lists no sizes is asked for each file. One that it does not tell about is told and left out.

    Raises:
        LaunchdeckError: it tells about none.
    """
    refusals = []
    for file in listed:
        url = folder_url + quote(file.name)
        size_bytes, sha256 = file.size_bytes, file.sha256
        if size_bytes is None:
            try:
                size_bytes, sha256 = _asked(url, headers)
            except AwayError:
                raise
            except LaunchdeckError as error:
                refusals.append(error)
        if size_bytes is not None:
            yield NamedFile(file.name, RemoteFile(url, size_bytes, sha256, headers, explain=refused))
        else:
            tell(Message("The hub does not tell how long {file} is: it is left out.", file=file.name))
            logger.warning("%s is left out: the hub does not tell how long it is", url)
    if refusals and len(refusals) == len(listed):
        raise refusals[0]


def _asked(url: str, headers: Mapping[str, str]) -> tuple[int | None, str | None]:
    """Size and SHA-256 by the headers of the file. The hub tells them in the answer that leads to where it is kept."""
    from launchdeck.network.session import ask  # noqa: PLC0415 (httpx takes a while, and few starts need it)

    answer = ask(url, method="HEAD", headers={**headers, "Accept-Encoding": "identity"}, follows=False)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise refused(url, answer.status, answer.headers, with_token=bool(headers))
    if answer.is_redirect and "x-linked-size" not in answer.headers:
        answer = ask(url, method="HEAD", headers={**headers, "Accept-Encoding": "identity"})
    told = answer.headers
    length, tag = (
        told.get("x-linked-size") or told.get("content-length", ""),
        told.get("x-linked-etag") or told.get("etag"),
    )
    return size_of(int(length)) if re.fullmatch(r"[0-9]{1,16}", length) else None, sha256_of((tag or "").strip('"'))
