"""The outer wall of the service: which hosts it answers to, how large a request may be, and what
browsers are told about every answer."""

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors"
    " 'none'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class TooLarge(Exception):
    """The body of the request passed the limit."""


class Guard:
    """ASGI middleware that checks every request before the application sees it.

    The Host header must be one of the allowed names: a web page of somebody else that resolves its
    own name to this machine (DNS rebinding) still sends its own name. Bodies are counted while they
    arrive, whatever their Content-Length says; reading on past the limit raises `TooLarge`, which
    the application answers with 413.

    Args:
        app: The application.
        hosts: Allowed names, without port; an IPv6 address in brackets.
        body_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], body_bytes: int) -> None:
        self._app, self._hosts, self._body_bytes = (
            app,
            frozenset(host.lower() for host in hosts),
            body_bytes,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no websockets here; the server closes the connection
        names = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(names) != 1 or host_of(names[0]) not in self._hosts:
            await _refuse(
                send,
                421,
                "this service does not answer to that host name; start it with --allow-host NAME to"
                " add one",
            )
            return
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not value.isdigit() or int(value) > self._body_bytes for value in lengths):
            await _refuse(send, 413, too_large(self._body_bytes))
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message.get("headers", ())}
                message = {
                    **message,
                    "headers": [
                        *message.get("headers", ()),
                        *(header for header in HEADERS if header[0] not in own),
                    ],
                }
            await send(message)

        await self._app(scope, self._counting(receive), guarded_send)

    def _counting(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._body_bytes:
                raise TooLarge(too_large(self._body_bytes))
            return message

        return counted


def too_large(limit: int) -> str:
    """What a client is told whose request is too large."""
    return f"the body is larger than {limit} bytes; send it in parts"


def host_of(header: str) -> str:
    """The name in a Host header or an authority, lower-case and without port; an IPv6 address keeps
    its brackets."""
    name = header.strip().lower()
    return (
        name[: name.index("]") + 1]
        if name.startswith("[") and "]" in name
        else name.partition(":")[0]
    )


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
