"""Asking the hub: where it is, with which token, and what its refusals mean."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.network import failures
from launchdeck.network.addresses import is_address
from launchdeck.network.failures import CHECK_NETWORK, host_of

if TYPE_CHECKING:
    from launchdeck.network.session import Answer

logger = logging.getLogger(__name__)

# Told of what a person should know though there is an answer.
Tell = Callable[[Message], None]

DEFAULT_ENDPOINT = "https://huggingface.co"
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
_TOKEN_LIMIT = 4096
# The headers in which the hub says what it means. 401 alone means little: it is the answer for a token that is not
# valid, for a repository that is private, and for one that does not exist.
_CODE, _WORDS = "x-error-code", "x-error-message"
_BAD_TOKEN_WORDS = re.compile("invalid (credentials|username|user access token)", re.IGNORECASE)
_DISABLED_WORDS = "Access to this resource is disabled."

_LOG_IN = Message("Renew it there (or with 'hf auth login'), or remove it: public models need none.")
_ACCEPT_TERMS = Message(
    "Accept the terms on its page on the hub, then name your token in HF_TOKEN or run 'hf auth login'."
)


@dataclass(frozen=True, slots=True)
class Token:
    """`source` says where it is kept."""

    text: str = field(repr=False)
    source: Message | str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


# Those that the hub did not take: they are not sent again, and whoever renews one has another.
_refused: set[str] = set()


def endpoint() -> str:
    """The hub's address. Raises LaunchdeckError: the environment names something else, or wants nothing asked."""
    for name in _OFFLINE:
        if os.environ.get(name, "").upper() in _TRUE:
            raise LaunchdeckError.of(
                Cause.NOT_READY,
                Message("{name} is set in the environment: the hub is not asked for anything.", name=name),
                Message("Remove the variable, then start Launchdeck again."),
            )
    address = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if not is_address(address):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("HF_ENDPOINT names {address} as the hub, which is no address.", address=address[:200]),
            Message("Write it as https://HOST, or remove the variable; then start Launchdeck again."),
        )
    return address


def token(tell: Tell) -> Token | None:
    """That of the environment (HF_TOKEN), of `hf auth login`, or, where the package keyring is installed, the
    password of `launchdeck` for `huggingface` in the system's keyring. One that cannot be valid is none.
    """
    found = _found_token()
    if found is None or found.text in _refused:
        return None
    if len(found.text) > _TOKEN_LIMIT or not found.text.isascii() or not found.text.isprintable() or " " in found.text:
        _refuse(found, tell)
        return None
    return found


def ask_hub(path: str, params: Mapping[str, str | int], tell: Tell, repository: str = "") -> Answer:
    """Ask the hub something; a token that it does not take is told, and the same is asked without it.

    Raises:
        LaunchdeckError: the hub cannot be asked, does not answer, or refuses.
    """
    from launchdeck.network.session import ask  # noqa: PLC0415 (httpx takes a while, and few starts need it)

    url = f"{endpoint()}{path}"
    sent = token(tell)
    answer = ask(url, params=params, headers=sent.headers if sent else None)
    if sent is not None and _is_bad_token(answer.status, answer.headers):
        answer = ask(url, params=params)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _bad_token(sent.source)
        _refuse(sent, tell)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise refused(url, answer.status, answer.headers, repository)
    return answer


def refused(
    url: str, status: int, headers: Mapping[str, str], what: str = "", *, with_token: bool = False
) -> LaunchdeckError:
    """What a refusal of the hub, or of one of its files, means. `what` is the name of what was asked for."""
    host = host_of(url)
    if headers.get(_CODE) == "GatedRepo":
        return _not_given(
            Message("{name} is given only to those who have accepted its terms.", name=what or host), _ACCEPT_TERMS
        )
    if headers.get(_WORDS) == _DISABLED_WORDS:
        return _not_given(Message("The hub has locked {name}.", name=what or host), Message("Choose another model."))
    if with_token and _is_bad_token(status, headers):
        return _bad_token(Message("HF_TOKEN or 'hf auth login'"))
    if what and status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        return _not_given(
            Message(
                "{host} has no {name}, or not for everybody (status {status}).", host=host, name=what, status=status
            ),
            Message("Check the name. If the model is gated or private, log in with HF_TOKEN or 'hf auth login'."),
        )
    return failures.refused(url, status, headers, what)


def _not_given(message: Message, advice: Message = CHECK_NETWORK) -> LaunchdeckError:
    return LaunchdeckError.of(Cause.NOT_FOUND, message, advice)


def _is_bad_token(status: int, headers: Mapping[str, str]) -> bool:
    if status != HTTPStatus.UNAUTHORIZED:
        return False
    return bool(_BAD_TOKEN_WORDS.search(headers.get(_WORDS, ""))) or headers.get(_CODE, "") == ""


def _bad_token(source: Message | str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("The hub does not take the token of {source}: it is not valid.", source=source),
        _LOG_IN,
    )


def _refuse(bad: Token, tell: Tell) -> None:
    _refused.add(bad.text)
    logger.warning("The hub does not take the token of %s: it is asked without", bad.source)
    tell(Message("The token of {source} is not valid: the hub was asked without it.", source=bad.source))


def _found_token() -> Token | None:
    text = _of_the_hubs_library()
    if text:
        is_named = any(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
        return Token(text, "HF_TOKEN" if is_named else "'hf auth login'")
    if importlib.util.find_spec("keyring") is None:
        return None
    import keyring  # noqa: PLC0415 (an optional package)
    from keyring.errors import KeyringError  # noqa: PLC0415

    try:
        text = keyring.get_password("huggingface", "launchdeck")
    except KeyringError as error:
        logger.warning("The keyring does not answer (%s): no token is sent", type(error).__name__)
        return None
    return Token(text, Message("the system's keyring")) if text else None


def _of_the_hubs_library() -> str | None:
    """It knows every place; what it stumbles over, say a variable for it that is no number, costs the token alone."""
    try:
        from huggingface_hub import constants, get_token  # noqa: PLC0415 (takes half a second, and few starts need it)
    except Exception as error:  # noqa: BLE001 (its import reads the environment)
        logger.warning("The token of 'hf auth login' cannot be looked for (%s): none is sent", error)
        return os.environ.get("HF_TOKEN")

    path = Path(constants.HF_TOKEN_PATH)
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no file")  # noqa: TRY301 (told as all else)
        return get_token()
    except Exception as error:  # noqa: BLE001 (besides the file's errors those of a log-in by a CI's own identity)
        logger.warning("The token of 'hf auth login' (%s) cannot be had (%s): none is sent", path, error)
        return None
