"""A running service: a profile of its own, keys, tasks, a client in the process, and a server with
a browser."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from fastapi.testclient import TestClient

from plumbline.data.adjudication.decisions import QueueItem, VoteView, item_key
from plumbline.data.store.api_keys import ApiKeys
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.tasks import Task, Tasks
from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.profile.data import BatchConfig
from plumbline.profile.profile import CONFIGS, load_profile
from plumbline.schema.conversations import Decoder, Message, Response, ResponseSource
from plumbline.schema.feedback import Context, Provenance
from plumbline.schema.identifiers import content_id
from plumbline.service.app import create_app
from plumbline.service.limits import Limits
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import CodeIdentity
from plumbline.storage.home import HomeLayout
from plumbline.storage.jsonl import write_records

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROFILE = "collecting"


def _profile() -> None:
    """A profile whose rubric admits the consent text of the pages and rates all six dimensions."""
    rubric = (CONFIGS / "rubrics" / "helpful-harmless.yaml").read_text().splitlines()
    rubric = [line for line in rubric if not line.startswith(("consent:", "dimensions:"))]
    rubric += [
        "consent: [annotator-1]",
        "dimensions: [safe, helpful, correct, creative, polite, affirming]",
    ]
    (CONFIGS / "rubrics" / f"{PROFILE}.yaml").write_text(
        "\n".join(rubric).replace("name: helpful-harmless\n", f"name: {PROFILE}\n") + "\n"
    )
    profile = (
        (CONFIGS / "sandbox.yaml").read_text().replace("name: sandbox\n", f"name: {PROFILE}\n")
    )
    (CONFIGS / f"{PROFILE}.yaml").write_text(
        profile.replace("rubric: rubrics/helpful-harmless.yaml", f"rubric: rubrics/{PROFILE}.yaml")
    )


class Clock:
    """A clock that moves by a second each time it is read, so that no two judgments have one
    time."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


class Home:
    """The home of one service."""

    def __init__(self, root):
        self.layout = HomeLayout(root, PROFILE)
        self.layout.profile_folder.mkdir(parents=True)
        self.profile = load_profile(PROFILE)
        self.store = FeedbackStore(self.layout.feedback_url)
        self.keys, self.tasks = ApiKeys(self.store.database), Tasks(self.store.database)
        self.clock = Clock()

    def app(self, **options):
        return create_app(self.layout, self.profile, self.clock, **options)

    def client(self, limits=None, **options):
        return TestClient(
            self.app(limits=limits or Limits(burst=10_000), **options),
            base_url="http://127.0.0.1:3002",
            raise_server_exceptions=False,
        )

    def key(self, name="rater-01", *scopes):
        return self.keys.create(name, scopes or ("collect",), NOW)[1]

    def headers(self, name="rater-01", *scopes):
        return {"X-API-Key": self.key(name, *scopes)}

    def events(self):
        """Every stored event, by closing batches."""
        self.store.close_batches(
            BatchConfig(max_events=10_000, max_age_hours=0.001),
            now=datetime.now(UTC) + timedelta(days=3650),
        )
        return [
            event for batch in self.store.batches() for event in self.store.batch_events(batch.id)
        ]

    def publish_queue(self, items):
        """The newest preference data of the profile, with this adjudication queue."""
        store = ArtifactStore(self.layout.store)
        with store.staging() as folder:
            write_records(
                folder / "adjudication_queue.jsonl", sorted(items, key=lambda item: item.item)
            )
            code = CodeIdentity(
                commit="0" * 40, dirty=False, source="sha256:" + "0" * 64, packages={}
            )
            digest, artifact = store.publish(
                folder,
                kind="preference_data",
                config=self.profile.digest(),
                code=code,
                parents={},
                facts={},
            )
        production = MaterializationRecord(
            artifact=digest,
            kind="preference_data",
            asset="preference_data",
            partition=None,
            dagster_run="run-1",
            data_version=artifact.tree,
            spec=None,
            mlflow_run=None,
            dvc=None,
            cached=False,
        )
        write_materialization(store.root, production)


def source(policy, temperature=0.7):
    decoder = Decoder(
        temperature=temperature, top_p=0.9 if temperature else 1.0, max_new_tokens=64, seed=7
    )
    return ResponseSource(
        policy=policy, chat_template="chatml", role_format="conversation", decoder=decoder
    )


def make_task(
    prompt="How do I clean brass?",
    responses=("Rub it with vinegar and salt.", "I cannot help with that."),
    **fields,
):
    return Task.create(
        prompt=(Message(role="user", content=prompt),),
        responses=tuple(
            Response(text=text, source=source(f"policy-{place}", 0.7 * place))
            for place, text in enumerate(responses)
        ),
        **{
            "context": Context(locale="en", domain="household", slice="benign-en"),
            "provenance": Provenance(
                written_by="prompt-team", filtered_by="filter-team", approved_by="data-lead"
            ),
        }
        | fields,
    )


def queue_item(
    prompt="How do I clean brass?",
    first="I cannot help with that.",
    second="Rub it with vinegar and salt.",
    rubric=f"{PROFILE}@1",
    reason=None,
):
    """An item on which two annotators disagree."""
    messages = (Message(role="user", content=prompt),)
    first, second = sorted((first, second))
    votes = tuple(
        VoteView(
            event=content_id([prompt, n]),
            annotator=f"rater-{n:02d}",
            preferred=n,
            strength=2,
            clause=clause,
            reason=reason,
            rubric=rubric,
        )
        for n, clause in enumerate(("answer-benign", "refuse-harm"))
    )
    return QueueItem(
        item=item_key(messages, (first, second)),
        rubric=rubric,
        prompt=messages,
        responses=(first, second),
        votes=votes,
        agreement=0.5,
        clauses=("answer-benign", "refuse-harm"),
        why="contradiction",
    )


@pytest.fixture(scope="session", autouse=True)
def _profile_of_the_service():
    _profile()


@pytest.fixture
def new_task():
    return make_task


@pytest.fixture
def new_item():
    return queue_item


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    home.store.close()


@pytest.fixture
def served(home):
    """Base URL of a real server in a thread of its own."""
    config = uvicorn.Config(
        home.app(limits=Limits(burst=10_000)),
        host="127.0.0.1",
        port=0,
        log_level="error",
        server_header=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)
