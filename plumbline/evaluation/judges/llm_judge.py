"""A language model as judge, behind any OpenAI-compatible endpoint: `POST
<base_url>/chat/completions` at temperature 0.

Every reply is kept as it came. A reply that is no verdict is kept and counted; it is never a tie.
What the endpoint cannot serve at the moment is asked again, with growing pauses; what it refuses
for good ends the run with its own words.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
from pydantic import Field

from plumbline.errors import ConfigError, JudgeUnavailable
from plumbline.evaluation.judges.questions import (
    INSTRUCTIONS,
    JudgeQuestion,
    Said,
    Side,
    read_verdict,
)
from plumbline.profile.evaluation import LLMJudge
from plumbline.records import Record, canonical_json, sha256
from plumbline.schema.identifiers import Identifier
from plumbline.text.unsafe_characters import printable

MAX_REPLY_BYTES: Final = 2**20
"""A longer answer of the endpoint is not read to its end."""
MAX_PAUSE: Final = 120.0
"""Seconds that the endpoint may ask us to wait, at most."""
_BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_SHOWN: Final = 300


class JudgeReply(Record):
    """The reply to one question, raw."""

    request: str = Field(
        description="digest of endpoint and request body; the same request is not made twice"
    )
    pair: Identifier
    first: Side
    courteous: bool
    verdict: Said | None = Field(description="null: the text is no verdict")
    text: str = Field(description="what the model wrote, whole")
    finish_reason: str | None = Field(
        description="why the model stopped, as the endpoint says; `length` cuts a reply off"
    )
    attempts: int = Field(ge=1, description="requests until this reply came")


def request_body(question: JudgeQuestion, rule: LLMJudge) -> dict[str, Any]:
    """The JSON body of the request."""
    messages = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": question.content},
    ]
    return {
        "model": rule.model,
        "messages": messages,
        "temperature": 0,
        "max_tokens": rule.max_tokens,
    }


def request_digest(question: JudgeQuestion, rule: LLMJudge) -> str:
    """What makes two requests the same one."""
    return sha256(canonical_json({"base_url": rule.base_url, "body": request_body(question, rule)}))


def ask_all(
    questions: Sequence[JudgeQuestion],
    rule: LLMJudge,
    known: Mapping[str, JudgeReply] | None = None,
) -> list[JudgeReply]:
    """Ask every question; replies in the order of the questions.

    Args:
        questions: The questions.
        rule: Endpoint, model and limits.
        known: Replies by request digest that are already there; these questions are not asked
            again.

    Raises:
        ConfigError: If the environment variable of the key is unset and the endpoint is not on this
            machine.
        JudgeUnavailable: If a question stays without a reply; the others are then given up.
    """
    known = known or {}
    stop = threading.Event()
    failures: list[Exception] = []

    def reply(question: JudgeQuestion) -> JudgeReply | None:
        earlier = known.get(request_digest(question, rule))
        if earlier is not None:
            # the digest covers the texts but not which of them was the better one, so that part is
            # taken from the question; and the text is read again, as strictly as today
            return earlier.model_copy(
                update={**_place(question), "verdict": read_verdict(earlier.text, question.mark)}
            )
        try:
            return None if stop.is_set() else _ask(client, question, rule, stop)
        except Exception as error:  # raised below; here it has to stop the other threads first
            failures.append(error)
            stop.set()
            return None

    with (
        httpx.Client(
            headers=_headers(rule),
            timeout=rule.timeout,
            trust_env=not rule.on_this_machine,
            follow_redirects=False,
        ) as client,
        ThreadPoolExecutor(max_workers=rule.concurrency) as pool,
    ):
        try:
            replies = list(pool.map(reply, questions))
        finally:
            stop.set()
    if failures:
        raise failures[0]
    return [reply for reply in replies if reply is not None]


def _place(question: JudgeQuestion) -> dict[str, Any]:
    return {"pair": question.pair, "first": question.first, "courteous": question.courteous}


def _headers(rule: LLMJudge) -> dict[str, str]:
    key = os.environ.get(rule.api_key_variable)
    if not key and not rule.on_this_machine:
        raise ConfigError(
            f"{rule.api_key_variable} is not set; it must hold the key of {rule.base_url}"
            " (judges.llm.api_key_variable names it)"
        )
    return {"authorization": f"Bearer {key}"} if key else {}


def _ask(
    client: httpx.Client, question: JudgeQuestion, rule: LLMJudge, stop: threading.Event
) -> JudgeReply:
    """One question, asked until there is a reply or the attempts are used up."""
    url = f"{rule.base_url.rstrip('/')}/chat/completions"
    problem = ""
    for attempt in range(1, rule.attempts + 1):
        pause = rule.backoff * 2 ** (attempt - 1)
        try:
            status, headers, body = _post(client, url, request_body(question, rule))
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if status == httpx.codes.OK:
                text, finish = _content(body, url)
                verdict = read_verdict(text, question.mark)
                digest = request_digest(question, rule)
                return JudgeReply(
                    request=digest,
                    **_place(question),
                    verdict=verdict,
                    text=text,
                    finish_reason=finish,
                    attempts=attempt,
                )
            problem = f"HTTP {status}: {_printable(body)}"
            if status not in _BUSY:
                raise JudgeUnavailable(
                    f"{url} refuses the request for model '{rule.model}': {problem}. Correct"
                    " judges.llm or the key."
                )
            pause = max(pause, _retry_after(headers))
        if attempt == rule.attempts or stop.wait(pause):
            break
    raise JudgeUnavailable(
        f"{url} gave no reply in {attempt} attempts: {problem}. Try again later, or lower"
        " judges.llm.concurrency."
    )


def _post(client: httpx.Client, url: str, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
    """Status, headers and at most `MAX_REPLY_BYTES` of the answer."""
    with client.stream("POST", url, json=body) as response:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > MAX_REPLY_BYTES:
                raise JudgeUnavailable(
                    f"{url} answers with more than {MAX_REPLY_BYTES // 2**10} KiB, which is no"
                    " verdict; check judges.llm.base_url"
                )
        return response.status_code, response.headers, bytes(content)


def _content(body: bytes, url: str) -> tuple[str, str | None]:
    """Text and finish reason of the one choice; a model that says nothing has said the empty
    text."""
    try:
        choice = json.loads(body)["choices"][0]
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise JudgeUnavailable(
            f"{url} answers something else than a chat completion: {_printable(body)}; check"
            " judges.llm.base_url"
        ) from error
    if not isinstance(text, str | None) or not isinstance(finish, str | None):
        raise JudgeUnavailable(
            f"{url} answers a chat completion without text: {_printable(body)}; check"
            " judges.llm.base_url"
        )
    # a lone surrogate cannot be written as UTF-8, and no verdict needs one
    return (text or "").encode(errors="replace").decode(), finish


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds that the endpoint asks us to wait; 0 when it does not, or gives a date."""
    try:
        seconds = float(headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return min(seconds, MAX_PAUSE) if seconds > 0 else 0.0


def _printable(body: bytes) -> str:
    return printable(" ".join(body.decode(errors="replace").split())[:_SHOWN])
