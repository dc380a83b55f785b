"""Who may reach the service, and how much they may send."""

import http.client
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from plumbline.errors import ConfigError
from plumbline.service.consent_text import load_consent_text
from plumbline.service.limits import Limits, TokenBuckets
from plumbline.service.middleware import HEADERS, host_of

PAGE = {"X-Plumbline-Page": "1"}


def problem(answer):
    assert set(answer.json()) == {"error"}
    return answer.status_code, answer.json()["error"]


ROUTES = [
    ("GET", "/v1/status", "read"),
    ("POST", "/v1/events", "submit"),
    ("GET", "/v1/tasks/next", "collect"),
    ("POST", "/v1/judgments", "collect"),
    ("GET", "/v1/adjudications", "adjudicate"),
    ("POST", "/v1/adjudications", "adjudicate"),
]


def test_the_list_above_is_every_route_of_the_api(home):
    described = {
        (method.upper(), path)
        for path, methods in home.app().openapi()["paths"].items()
        for method in methods
    }
    assert described == {(method, path) for method, path, _ in ROUTES}


@pytest.mark.threat("S5")
@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_every_route_needs_a_key_with_its_scope(home, method, path, scope):
    client = home.client()
    body = {"json": {}} if method == "POST" else {}
    assert problem(client.request(method, path, **body))[0] == 401
    assert (
        problem(client.request(method, path, headers={"X-API-Key": "plumbline_0_0"}, **body))[0]
        == 401
    )
    others = [
        one
        for one in ("submit", "collect", "adjudicate", "read")
        if one != scope and not (method == "GET" and path == "/v1/adjudications" and one == "read")
    ]
    status, message = problem(
        client.request(method, path, headers=home.headers("rater-01", *others), **body)
    )
    assert (status, scope in message) == (403, True)
    answer = client.request(method, path, headers=home.headers("rater-02", scope), **body)
    assert answer.status_code in (
        200,
        404,
        422,
    )  # 404: there are no preference data yet; 422: {} is no judgment


def test_a_revoked_key_is_refused_on_its_next_request(home):
    key, text = home.keys.create("watcher", ("read",), datetime.now(UTC))
    client, headers = home.client(), {"X-API-Key": text}
    assert client.get("/v1/status", headers=headers).status_code == 200
    home.keys.revoke(key.id, datetime.now(UTC))
    assert problem(client.get("/v1/status", headers=headers))[0] == 401


@pytest.mark.threat("S5")
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3002",
        "127.0.0.1.evil.example",
        "localhost.",
        "",
        "[::1",
        "127.0.0.1@evil.example",
    ],
)
def test_other_host_names_are_refused_before_anything_else(home, host):
    """DNS rebinding: the browser of somebody who visits evil.example sends that name, whatever
    address it leads to."""
    client, headers = home.client(), {**home.headers("watcher", "read"), "Host": host}
    for path in ("/v1/status", "/login", "/static/pages.js", "/openapi.json"):
        assert problem(client.get(path, headers=headers)) == (
            421,
            (
                "this service does not answer to that host name; start it with --allow-host NAME to"
                " add one"
            ),
        )


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:3002", "localhost:9", "[::1]:3002", "LOCALHOST"]
)
def test_loopback_names_are_answered(home, host):
    assert home.client().get("/login", headers={"Host": host}).status_code == 200


def test_other_names_can_be_allowed(home):
    client = home.client(hosts=("feedback.example",))
    assert client.get("/login", headers={"Host": "feedback.example:443"}).status_code == 200
    assert client.get("/login", headers={"Host": "127.0.0.1"}).status_code == 421


def test_two_host_headers_are_refused(served):
    connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=10)
    connection.putrequest("GET", "/login", skip_host=True)
    connection.putheader("Host", "127.0.0.1")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 421)
    connection.close()


@pytest.mark.parametrize(
    ("header", "name"),
    [("a.b:80", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("A", "a"), ("", "")],
)
def test_the_name_in_a_host_header(header, name):
    assert host_of(header) == name


def test_every_answer_tells_browsers_to_load_nothing_from_elsewhere(home):
    client = home.client()
    for path in (
        "/login",
        "/static/service.css",
        "/v1/status",
        "/nothing",
        "/openapi.json",
        "/collect",
    ):
        headers = client.get(path, follow_redirects=False).headers
        assert {name.decode(): headers.get(name.decode()) for name, _ in HEADERS} == {
            name.decode(): value.decode() for name, value in HEADERS
        }
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_a_body_over_the_limit_is_refused_by_its_length_and_by_counting(home):
    """The limit is 1000 bytes: 1000 pass (and are no JSON event), 1001 do not, with or without a
    Content-Length."""
    client, headers = (
        home.client(Limits(body_bytes=1000)),
        home.headers("sender", "submit") | {"Content-Type": "application/json"},
    )
    assert client.post("/v1/events", headers=headers, content=b"1" * 1000).status_code == 200
    assert problem(client.post("/v1/events", headers=headers, content=b"1" * 1001))[0] == 413
    assert (
        problem(
            client.post("/v1/events", headers=headers, content=(b"1" * 100 for _ in range(11)))
        )[0]
        == 413
    )
    assert [delivery for delivery in home.store.batches()] == []


def test_a_length_that_lies_is_counted(served, home):
    """A chunked body that never says how long it is ends at the limit, over a real socket."""
    connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=20)
    headers = home.headers("sender", "submit") | {"Content-Type": "application/json"}
    try:
        connection.request(
            "POST",
            "/v1/events",
            body=(b"1" * 2**20 for _ in range(12)),
            headers=headers,
            encode_chunked=True,
        )
        status = connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server closed the connection while the body was on its way
    assert status == 413
    assert home.store.open_events()[0] == 0


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_a_body_that_a_form_could_send_is_refused(home, content_type):
    headers = home.headers("sender", "submit") | (
        {"Content-Type": content_type} if content_type else {}
    )
    assert problem(home.client().post("/v1/events", headers=headers, content=b"{}"))[0] == 415


def test_a_key_has_a_bucket_of_requests_and_does_not_empty_that_of_another(home):
    """A bucket of 3 with one token a second: three requests pass, the fourth has to wait a second,
    and after two seconds two more pass."""
    seconds = [100.0]
    client = home.client(Limits(requests_per_second=1, burst=3), seconds=lambda: seconds[0])
    one, other = home.headers("watcher", "read"), home.headers("second", "read")

    def get(headers):
        return client.get("/v1/status", headers=headers)

    assert [get(one).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert get(one).headers["retry-after"] == "2"
    assert get(other).status_code == 200
    seconds[0] += 2
    assert [get(one).status_code for _ in range(3)] == [200, 200, 429]


def test_wrong_keys_are_slowed_down_and_the_right_ones_of_the_address_wait_with_them(home):
    seconds = [100.0]
    client = home.client(Limits(failures_per_second=1, failure_burst=2), seconds=lambda: seconds[0])
    wrong = {"X-API-Key": "plumbline_" + "0" * 16 + "_" + "a" * 43}
    assert [client.get("/v1/status", headers=wrong).status_code for _ in range(4)] == [
        401,
        401,
        429,
        429,
    ]
    seconds[0] += 1.5
    assert client.get("/v1/status", headers=home.headers("watcher", "read")).status_code == 200


def test_a_bucket_never_holds_more_than_its_size_and_forgets_the_oldest_names():
    seconds = [0.0]
    buckets = TokenBuckets(rate=2.0, size=2, seconds=lambda: seconds[0], names=2)
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 0.5]
    seconds[0] = 1000.0
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 0.5]
    buckets.take("b")
    buckets.take("c")  # "a" is forgotten
    assert buckets.take("a") == 0.0


def sign_in(client, key):
    return client.post("/login", json={"key": key}, headers=PAGE)


def test_a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use(home):
    client = home.client()
    answer = sign_in(client, home.key("rater-01", "collect"))
    assert (answer.status_code, answer.json()) == (200, {"page": "/collect"})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert client.get("/v1/tasks/next").status_code == 200
    assert client.post("/logout", headers=PAGE).json() == {"page": "/login"}
    assert client.get("/v1/tasks/next").status_code == 401


def test_the_token_of_a_session_that_was_signed_out_is_dead(home):
    client = home.client()
    sign_in(client, home.key("rater-01", "collect"))
    token = client.cookies["plumbline_collecting"]
    client.post("/logout", headers=PAGE)
    assert (
        client.get(
            "/v1/tasks/next", headers={"Cookie": f"plumbline_collecting={token}"}
        ).status_code
        == 401
    )


def test_a_session_ends_after_its_time_and_with_its_key(home):
    seconds = [0.0]
    client = home.client(Limits(session_seconds=60, burst=1000), seconds=lambda: seconds[0])
    key, text = home.keys.create("rater-01", ("collect",), datetime.now(UTC))
    sign_in(client, text)
    seconds[0] = 59.0
    assert client.get("/v1/tasks/next").status_code == 200
    seconds[0] = 60.0
    assert client.get("/v1/tasks/next").status_code == 401
    sign_in(client, text)
    assert client.get("/v1/tasks/next").status_code == 200
    home.keys.revoke(key.id, datetime.now(UTC))
    assert client.get("/v1/tasks/next").status_code == 401


@pytest.mark.threat("S5")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        PAGE | {"Origin": "https://evil.example"},
        PAGE | {"Origin": "null"},
        PAGE | {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1:3002"},
    ],
)
def test_another_site_cannot_write_with_the_cookie_of_somebody_who_is_signed_in(
    home, new_task, headers
):
    home.tasks.add([new_task()], datetime.now(UTC))
    client = home.client()
    sign_in(client, home.key("rater-01", "collect"))
    body = {
        "task": new_task().id,
        "judgment": {"kind": "comparison", "preferred": 0, "strength": 1},
        "consent": "annotator-1",
    }
    assert problem(client.post("/v1/judgments", json=body, headers=headers)) == (
        403,
        "this request did not come from a page of this service",
    )
    assert home.store.open_events()[0] == 0
    assert (
        client.post(
            "/v1/judgments", json=body, headers=PAGE | {"Origin": "http://127.0.0.1:3002"}
        ).status_code
        == 201
    )


def test_no_page_of_another_origin_may_ask(home):
    """Without CORS headers in the answer to its preflight, a browser never sends the request with
    the custom header."""
    asked = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-plumbline-page",
    }
    answer = home.client().options("/v1/judgments", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.threat("S2")
@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/....//app.py",
    ],
)
def test_static_files_do_not_leave_their_folder(home, path):
    answer = home.client().get(path)
    assert answer.status_code == 404
    assert "create_app" not in answer.text


def test_the_description_of_the_api_is_whole(home):
    """Every reference in /openapi.json leads to a schema, and bodies that are parsed by hand are
    described."""
    description = home.client().get("/openapi.json").json()
    text = json.dumps(description)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(description["components"]["schemas"])
    assert {"SubmittedEvent", "TaskJudgment", "DecisionForm", "EventsAnswer"} <= names
    assert description["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"


def test_a_failure_shows_no_traceback(home, monkeypatch):
    def fail():
        raise RuntimeError("secret detail")

    app = home.app()
    monkeypatch.setattr(type(home.tasks), "counts", lambda _: fail())
    answer = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False).get(
        "/v1/status", headers=home.headers("watcher", "read")
    )
    assert problem(answer) == (500, "the service failed; its log says why")
    assert answer.headers["content-security-policy"]


def test_a_rubric_without_a_consent_text_says_what_to_do(tmp_path):
    from plumbline.profile.profile import CONFIGS
    from plumbline.schema.rubric import load_rubric

    rubric = load_rubric(CONFIGS / "rubrics" / "collecting.yaml")
    with pytest.raises(
        ConfigError,
        match=(
            r"admits judgments under the consent versions annotator-1, and .* has the text of none"
            r" of them"
        ),
    ):
        load_consent_text(rubric, tmp_path)
    (tmp_path / "consent").mkdir()
    (tmp_path / "consent" / "annotator-1.yaml").write_text(
        "version: annotator-2\ntitle: T\ntext: [a]\ndays: null\n"
    )
    with pytest.raises(ConfigError, match="names itself 'annotator-2'"):
        load_consent_text(rubric, tmp_path)
