"""Who is calling: API keys in a header, or a session of somebody who signed in on a page."""

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request

from plumbline.data.store.api_keys import ApiKey, ApiKeys, Scope
from plumbline.service.limits import Limits, TokenBuckets

KEY_HEADER = "x-api-key"
PAGE_HEADER = "x-plumbline-page"
"""A page of another origin cannot set this header without asking first, and this service allows no
other origin; its value does not matter."""
_SAFE_METHODS = ("GET", "HEAD")


class Refused(Exception):
    """The request is not answered; `status` is the HTTP status, the message says why and what to
    do."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


@dataclass
class Session:
    """Somebody who signed in on a page with a key."""

    key: str
    """Id of the key."""
    ends: float
    """When the session ends, on the clock of the process."""
    skipped: list[str] = field(default_factory=list)
    """Tasks that were put off, the first first."""


@dataclass(frozen=True)
class Caller:
    """An authenticated client."""

    key: ApiKey
    session: Session | None

    @property
    def skipped(self) -> tuple[str, ...]:
        """Tasks that the caller put off."""
        return () if self.session is None else tuple(self.session.skipped)


class Sessions:
    """Sessions in the memory of this process, by the SHA-256 of their token; they end with the
    process."""

    def __init__(self, limits: Limits, seconds: Callable[[], float]) -> None:
        self._limits, self._seconds = limits, seconds
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, key: ApiKey) -> str:
        """Start a session and return its token."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_token_digest(token)] = Session(
                key.id, self._seconds() + self._limits.session_seconds
            )
            while len(self._sessions) > self._limits.sessions:
                self._sessions.popitem(last=False)
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, unless it has ended."""
        with self._lock:
            session = self._sessions.get(_token_digest(token))
        return None if session is None or session.ends <= self._seconds() else session

    def end(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_token_digest(token), None)


class Access:
    """Decides who may do what.

    Args:
        profile: Name of the profile; services of several profiles on one host do not share a
            cookie.
        keys: The keys.
        limits: How often a key may ask.
        seconds: A clock that never goes back.
    """

    def __init__(
        self, profile: str, keys: ApiKeys, limits: Limits, seconds: Callable[[], float]
    ) -> None:
        self._keys = keys
        self.cookie = f"plumbline_{profile}"
        self.sessions = Sessions(limits, seconds)
        self._requests = TokenBuckets(limits.requests_per_second, limits.burst, seconds)
        self._failures = TokenBuckets(limits.failures_per_second, limits.failure_burst, seconds)

    def caller(self, request: Request, *scopes: Scope) -> Caller:
        """The caller of a request who has one of the scopes.

        Raises:
            Refused: 401 without a key in force, 403 without the scope or from another origin, 429
                when the key asks too often.
        """
        caller = self._identify(request)
        if not set(scopes) & set(caller.key.scopes):
            raise Refused(
                403,
                f"the key of {caller.key.name} may {', '.join(caller.key.scopes)}; this needs"
                f" {' or '.join(scopes)}",
            )
        self._limit(self._requests.take(caller.key.id))
        return caller

    def session_caller(self, request: Request) -> Caller | None:
        """Who is signed in on the pages, or None; for pages, which then show the form to sign
        in."""
        session = self.sessions.find(request.cookies.get(self.cookie, ""))
        key = None if session is None else self._keys.find(session.key)
        return (
            None
            if session is None or key is None or key.revoked_at is not None
            else Caller(key, session)
        )

    def verify(self, request: Request, text: str) -> ApiKey:
        """The key of a text.

        Raises:
            Refused: 401 if it is not one in force; 429 after too many wrong ones from one address.
        """
        address = request.client.host if request.client is not None else "unknown"
        self._limit(self._failures.wait(address))
        key = self._keys.verify(text)
        if key is None:
            self._failures.take(address)
            raise Refused(
                401,
                "this key is unknown or was revoked; `plumbline feedback key add` makes one",
                {"www-authenticate": "ApiKey"},
            )
        return key

    def require_own_page(self, request: Request) -> None:
        """Refuse what a page of another origin could have sent with the cookie of somebody who is
        signed in.

        Raises:
            Refused: 403 without the page header, or with an Origin that is not this service.
        """
        origin = request.headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
        if PAGE_HEADER not in request.headers or foreign:
            raise Refused(403, "this request did not come from a page of this service")

    def _identify(self, request: Request) -> Caller:
        text = request.headers.get(KEY_HEADER)
        if text is not None:
            return Caller(self.verify(request, text), None)
        caller = self.session_caller(request)
        if caller is None:
            raise Refused(
                401,
                f"send an API key in the header {KEY_HEADER}, or sign in at /login",
                {"www-authenticate": "ApiKey"},
            )
        if request.method not in _SAFE_METHODS:
            self.require_own_page(request)
        return caller

    @staticmethod
    def _limit(wait: float) -> None:
        if wait > 0:
            seconds = max(1, round(wait + 0.5))
            raise Refused(
                429, f"too many requests; try again in {seconds} s", {"retry-after": str(seconds)}
            )


def _token_digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
