"""Makers of records for the data tests, and the databases that the feedback store is tested on."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plumbline.profile.data import (
    ContaminationConfig,
    NearDuplicateConfig,
    PreferenceConfig,
    SplitShares,
)
from plumbline.schema.conversations import Message, Response, ResponseSource
from plumbline.schema.feedback import Comparison, Consent, Context, FeedbackEvent, Provenance
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id
from plumbline.schema.preferences import Demonstration
from plumbline.schema.rubric import Clause, Margins, RiskCategory, Rubric, RubricApproval

TIME = datetime(2026, 1, 5, 12, tzinfo=UTC)
PROVENANCE = Provenance(written_by="a", filtered_by="b", approved_by="c")
CONTEXT = Context(locale="en", domain="test", slice="unsliced")
SOURCE = ResponseSource(policy="p", chat_template="t", role_format="conversation", decoder=None)


def turns(*texts):
    return tuple(
        Message(role="user" if index % 2 == 0 else "assistant", content=text)
        for index, text in enumerate(texts)
    )


def event(
    prompt="How?",
    first="A long answer",
    second="No",
    preferred=0,
    strength=2,
    annotator="rater-01",
    *,
    scope="training",
    consent="c-1",
    **fields,
):
    return FeedbackEvent.create(
        prompt=turns(prompt) if isinstance(prompt, str) else prompt,
        responses=(Response(text=first, source=SOURCE), Response(text=second, source=SOURCE)),
        judgment=Comparison(preferred=preferred, strength=strength),
        annotator=annotator,
        provenance=PROVENANCE,
        consent=Consent(scope=scope, version=consent),
        **{"rubric": "test@1", "context": CONTEXT, "synthetic": False, "time": TIME} | fields,
    )


def demonstration(prompt="How?", response="So.", consent="c-1", number=0):
    return Demonstration(
        id=content_id([prompt, response, number]),
        prompt=turns(prompt),
        response=response,
        author_role="annotator",
        provenance=PROVENANCE,
        consent=Consent(scope="training", version=consent),
        context=CONTEXT,
    )


def held_out(*texts):
    return [
        EvalPrompt(id=content_id(text), prompt=turns(text), expected="unknown", context=CONTEXT)
        for text in texts
    ]


@pytest.fixture
def make_event():
    return event


@pytest.fixture
def make_demonstration():
    return demonstration


@pytest.fixture
def make_held_out():
    return held_out


@pytest.fixture
def make_turns():
    return turns


@pytest.fixture
def rubric():
    clause = Clause(
        id="help",
        name="n",
        variable="v",
        estimated_from="e",
        enforced_by="l",
        regression_metric="reward",
    )
    return Rubric(
        name="test",
        version=1,
        owner="o",
        approval=RubricApproval(approved_by="a", date="d", reason="r"),
        optimized=("x",),
        forbidden=("y",),
        evidence=("z",),
        clauses=(clause,),
        taxonomy=(RiskCategory(id="r", name="n", expected_behaviour=("b",)),),
        priorities=("help",),
        margins=Margins(negligible=0, slightly=0.25, better=0.5, significantly=1),
        consent=("c-1",),
    )


@pytest.fixture
def rule():
    return PreferenceConfig(
        split=SplitShares(validation=0.2, calibration=0.1),
        min_agreement=0.6,
        near_duplicates=NearDuplicateConfig(shingle=5, threshold=0.7, action="report"),
        contamination=ContaminationConfig(ngram=8, threshold=0.5),
        suite="suites/preferences.yaml",
    )


@pytest.fixture
def many_events():
    """100 prompts with a pair each, judged in either order of the responses."""
    return [
        (
            event(f"Question {n}?", f"good {n}", f"bad {n}")
            if n % 2
            else event(f"Question {n}?", f"bad {n}", f"good {n}", preferred=1)
        )
        for n in range(100)
    ]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a real PostgreSQL server of this session's own, reachable through a socket in a
    temporary folder.

    It sorts text as people in the United States do, not by code points: what depends on an order of
    ids would fail here.
    """
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        pytest.skip(
            "needs a PostgreSQL server in /usr/lib/postgresql (Debian: apt install postgresql)"
        )
    programs = binaries[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="plumbline-pg-", dir="/tmp"))
    account = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if account:
        os.chown(folder, pwd.getpwnam(account).pw_uid, pwd.getpwnam(account).pw_gid)
    run = {"check": True, "user": account, "cwd": folder, "stdout": subprocess.DEVNULL}
    order = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
    subprocess.run(
        [
            programs / "initdb",
            "-D",
            folder / "data",
            "-U",
            "plumbline",
            "--auth=trust",
            "--no-sync",
            *order,
        ],
        **run,
    )
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=40"
    try:
        subprocess.run(
            [
                programs / "pg_ctl",
                "-D",
                folder / "data",
                "-l",
                folder / "log",
                "-o",
                settings,
                "-w",
                "start",
            ],
            **run,
        )
        yield f"postgresql+psycopg2://plumbline@/postgres?host={folder}"
    finally:
        subprocess.run(
            [programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"],
            **run | {"check": False},
        )
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def feedback_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty feedback store: a SQLite file that is not there yet, and a schema of its own
    on a PostgreSQL server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/feedback.db"
    import sqlalchemy

    server = request.getfixturevalue("postgresql")
    schema = f"s{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    return f"{server}&options=-csearch_path%3D{schema}"
