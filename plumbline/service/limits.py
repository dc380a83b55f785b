"""Limits of the service: how much and how often, by key."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the service."""

    requests_per_second: float = 20.0
    """Refill of a key's bucket."""
    burst: int = 60
    """Size of a key's bucket, in requests."""
    failures_per_second: float = 0.5
    """Refill of the bucket of wrong keys of one network address; each try costs the service a
    scrypt."""
    failure_burst: int = 10
    body_bytes: int = 8 * 2**20
    """Largest body of a request; more is answered with 413 as soon as it is seen."""
    events: int = 1000
    """Events in one request."""
    sessions: int = 1000
    """People that are signed in on the pages at once; the oldest session ends first."""
    session_seconds: float = 12 * 3600.0


class TokenBuckets:
    """One token bucket for each name: `size` requests at once, refilled at a steady rate.

    Args:
        rate: Tokens a second.
        size: Tokens that a bucket holds.
        seconds: A clock that never goes back.
        names: Buckets that are kept; of more, the one that was used longest ago is forgotten, and
            is full when it comes again.
    """

    def __init__(
        self, rate: float, size: int, seconds: Callable[[], float], names: int = 10_000
    ) -> None:
        self._rate, self._size, self._seconds, self._names = rate, size, seconds, names
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take a token; returns 0, or the seconds until there is one."""
        with self._lock:
            tokens = self._tokens(name)
            if tokens < 1:
                return (1 - tokens) / self._rate
            self._keep(name, tokens - 1)
            return 0.0

    def wait(self, name: str) -> float:
        """Seconds until there is a token, without taking one."""
        with self._lock:
            return max(0.0, (1 - self._tokens(name)) / self._rate)

    def _tokens(self, name: str) -> float:
        now = self._seconds()
        tokens, at = self._buckets.get(name, (float(self._size), now))
        return min(float(self._size), tokens + (now - at) * self._rate)

    def _keep(self, name: str, tokens: float) -> None:
        self._buckets[name] = (tokens, self._seconds())
        self._buckets.move_to_end(name)
        while len(self._buckets) > self._names:
            self._buckets.popitem(last=False)
