"""Prompts, pairs and a judge's endpoint for the tests of judges."""

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.profile.evaluation import LLMJudge
from plumbline.schema.conversations import Message


@pytest.fixture
def make_pairs():
    """Pairs whose better response says `right` and whose worse one says `wrong`."""

    def make(count, *, better="right", worse="wrong", subset="s"):
        return [
            JudgedPair(
                id=f"pair-{n}",
                prompt=(Message(role="user", content=f"question {n}?"),),
                chosen=f"{better} {n}",
                rejected=f"{worse} {n}",
                subset=subset,
            )
            for n in range(count)
        ]

    return make


class Endpoint:
    """A real HTTP server on 127.0.0.1 that speaks the protocol of chat completions; `say` maps the
    question to the reply."""

    def __init__(self):
        self.say = lambda question: verdict(question, "tie")
        self.before = []
        self.requests = []
        self.headers = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                endpoint.handle(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def handle(self, request):
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        with self._lock:
            self.requests.append((request.path, body))
            self.headers.append(dict(request.headers))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            failure = self.before.pop(0) if self.before else None
        time.sleep(0.01)  # long enough that requests meet here, which is what `most_at_once` counts
        with self._lock:
            self._at_once -= 1
        if failure == "hang up":
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        status, headers, answer = failure or (
            200,
            {},
            completion(self.say(json.loads(body["messages"][1]["content"]))),
        )
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        for name, value in (
            {"content-type": "application/json", "content-length": str(len(content))} | headers
        ).items():
            request.send_header(name, value)
        request.end_headers()
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # the client may stop reading an answer that is too long
            request.wfile.write(content)

    def rule(self, **fields):
        base = {
            "base_url": f"http://127.0.0.1:{self.server.server_port}/v1",
            "model": "judge-1",
            "backoff": 0.01,
            "concurrency": 4,
            "timeout": 10.0,
        }
        return LLMJudge(**(base | fields))


def completion(text, finish="stop"):
    return {
        "id": "c",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        ],
    }


def verdict(question, said, reason="Because."):
    return json.dumps({"mark": question["mark"], "reason": reason, "verdict": said})


@pytest.fixture
def endpoint():
    server = Endpoint()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def reply_with():
    """The reply that a judge gives to a question, exactly as asked for."""
    return verdict


@pytest.fixture
def prefer():
    """A judge that prefers by a key on the text of a response, and calls equal keys a tie."""

    def by(key):
        def say(question):
            first, second = (key(question["responses"][place]) for place in ("1", "2"))
            return verdict(question, "tie" if first == second else "1" if first > second else "2")

        return say

    return by
