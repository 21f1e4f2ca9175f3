"""The bytes of one file from a server into its part: gone on with where it broke off, and never believed unseen."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import httpx

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.looking import real
from launchdeck.files.removal import remove_file
from launchdeck.network.failures import CHECK_NETWORK, AwayError, away, connection_failed, host_of, login_page
from launchdeck.network.landing import PART_SUFFIX, open_part
from launchdeck.network.session import is_page, session

if TYPE_CHECKING:
    from launchdeck.network.remote_file import RemoteFile

_log = logging.getLogger(__name__)

# How often in a row nothing may come before it is given up: a line that has carried something is worth more patience.
_TRIES: Final = 6
_FIRST_TRIES: Final = 3
_FIRST_PAUSE_S: Final = 0.5
# A server that has too much to do, or a part of it that is being restarted: the same as a broken line.
_FOR_A_WHILE = frozenset({408, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)")


class _BusyError(Exception):
    """The server cannot answer just now, and may in a moment; `refusal` says it in words."""

    def __init__(self, refusal: LaunchdeckError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class _TooMuchError(Exception):
    """More comes than the file has: what came before is not of this file either."""


def transfer(remote: RemoteFile, part: Path, tell: Callable[[int], None], stop: threading.Event) -> None:
    """Ask for what is missing until nothing is; with pauses that grow for as long as nothing comes. Blocking.

    `tell` is told how many bytes are there. `stop` ends it soon: what has come stays.

    Raises:
        LaunchdeckError: the server refuses, stays away, or sends something else.
        OSError: the part cannot be written.
    """
    with session() as client, open_part(part) as file:
        if _length(file) > remote.size_bytes:
            file.truncate(0)  # it cannot be the beginning of this file
        began = best = _length(file)
        tries = 0
        while not stop.is_set() and _length(file) < remote.size_bytes:
            tell(_length(file))
            try:
                problem = _try(client, remote, file, tell, stop)
            except _TooMuchError as error:
                raise throw_away(part) from error
            here = _length(file)
            _log.info("%s broke off at %s bytes: %s", part.name, here, problem)
            best, tries = (here, 0) if here > best else (best, tries + 1)
            if here < remote.size_bytes and tries >= (_TRIES if best > began else _FIRST_TRIES):
                raise _given_up(remote, problem)
            if here < remote.size_bytes:
                stop.wait(_FIRST_PAUSE_S * 2**tries)
    if not stop.is_set():
        tell(remote.size_bytes)


def throw_away(part: Path) -> LaunchdeckError:
    """What is not the file is of no use, not even in part. Gives the error to be raised."""
    remove_file(real(part.parent), part.name)
    return LaunchdeckError.of(
        Cause.START_FAILED,
        Message("What came for {file} is not the file that was announced.", file=_name_of(part)),
        Message("It was thrown away; download it again."),
    )


def _try(
    client: httpx.Client, remote: RemoteFile, file: BinaryIO, tell: Callable[[int], None], stop: threading.Event
) -> Exception | None:
    """One answer of the server; gives what broke it off. None: it ended as if that were all."""
    try:
        _receive(client, remote, file, tell, stop)
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL, httpx.DecodingError) as error:
        raise connection_failed(error, remote.url, None) from error
    except (httpx.TransportError, _BusyError, AwayError) as error:
        return error
    finally:
        file.flush()
    return None


def _receive(
    client: httpx.Client, remote: RemoteFile, file: BinaryIO, tell: Callable[[int], None], stop: threading.Event
) -> None:
    done = _length(file)
    ask = {**remote.headers, "Range": f"bytes={done}-", "Accept-Encoding": "identity"}
    with client.stream("GET", remote.url, headers=ask) as answer:
        done = _begin(answer, remote, done)
        file.seek(done)
        file.truncate()
        for chunk in answer.iter_bytes():
            if stop.is_set():
                return
            if done + len(chunk) > remote.size_bytes:
                raise _TooMuchError
            file.write(chunk)
            done += len(chunk)
            tell(done)


def _begin(answer: httpx.Response, remote: RemoteFile, done: int) -> int:
    """The byte that this answer begins with. What has come is not touched before it is known that more of it comes.

    Raises:
        LaunchdeckError: it is no part of this file.
    """
    status, headers = answer.status_code, answer.headers
    if status in _FOR_A_WHILE:
        raise _BusyError(_refused(remote, status, headers))
    if answer.is_error and status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise _refused(remote, status, headers)
    if is_page(headers) and not remote.url.lower().endswith((".html", ".htm")):
        raise login_page(host_of(str(answer.url)))
    first = 0  # a server that knows no ranges begins anew
    if status == HTTPStatus.PARTIAL_CONTENT:
        told = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        first = int(told[1]) if told else done
    length = headers.get("content-length", "") if "content-encoding" not in headers else ""
    is_other = length.isdecimal() and first + int(length[:18]) != remote.size_bytes
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or first > done or is_other:
        raise _another_file(remote)
    return first


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _name_of(part: Path) -> str:
    """The file's, without the version and the suffix of a part."""
    return part.name.removesuffix(PART_SUFFIX).rpartition(".")[0]


def _another_file(remote: RemoteFile) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("The server of {url} has another file there than the one that was announced.", url=remote.url),
        Message("Look for it again: it may have been moved or taken away."),
    )


def _refused(remote: RemoteFile, status: int, headers: Mapping[str, str]) -> LaunchdeckError:
    name = remote.url.rpartition("/")[2]
    return remote.explain(remote.url, status, headers, name, with_token="Authorization" in remote.headers)


def _given_up(remote: RemoteFile, problem: Exception | None) -> LaunchdeckError:
    if isinstance(problem, _BusyError):
        return problem.refusal
    error: LaunchdeckError = away(host_of(remote.url), Message("it sends less than it announced"))
    if problem is not None:
        error = problem if isinstance(problem, LaunchdeckError) else connection_failed(problem, remote.url, None)
    if error.failure.advice is not CHECK_NETWORK:  # a proxy's, say
        return error
    later = Message("What has come is kept; go on when the network is back.")
    return AwayError(replace(error.failure, advice=later))
