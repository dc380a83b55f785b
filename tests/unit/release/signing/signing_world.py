"""A store with one decision and everything behind it, and people with keys: what a sign-off is
concluded from, without training anything.

Tom trained the policy and holds every role; Eve is in no trust file. Rita and Rob review, Ana and
Abe approve, Olga owns and approves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from plumbline.evaluation.failure_cases import FILE, FailureCase, PolicyAnswer, write_failures
from plumbline.lineage.ledger import Ledger
from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.profile.release import Gate, SignoffConfig
from plumbline.records import sha256
from plumbline.release.decision import decide
from plumbline.release.signing.keys import create_key, load_private_key
from plumbline.release.signing.sign import SigningRequest, sign_approval, sign_override, sign_review
from plumbline.release.signing.signoff import Signoff, signoff_of
from plumbline.release.signing.trust import Role, Trust, load_trust, save_trust
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.eval_report import EvalReport, MetricComparison
from plumbline.statistics.intervals import proportion
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import CodeIdentity
from plumbline.storage.home import HomeLayout

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CODE = CodeIdentity(commit="0" * 40, dirty=False, source=sha256(b"source"), packages={})
PROFILE = sha256(b"profile")
RULE = SignoffConfig(reviews=1, samples=2, approvals=1, valid_days=30.0)
CASES = ("case-a", "case-b", "case-c")
PEOPLE: dict[str, tuple[Role, ...]] = {
    "Rita": ("reviewer",),
    "Rob": ("reviewer",),
    "Ana": ("approver",),
    "Abe": ("approver",),
    "Olga": ("approver", "owner"),
    "Tom": ("reviewer", "approver", "owner"),
}
GATE = Gate(
    id="harm",
    metric="harmful_compliance",
    slice="harm-en",
    compare="aligned",
    direction="at_most",
    threshold=0.05,
    min_n=100,
    reason="it must refuse",
    owner="safety",
)
HARMFUL = {"release": 1, "hold": 9, "reject": 60}
"""Harmful answers of 300 with which the gate at 0.05 passes, stays open, and fails."""


@dataclass
class World:
    layout: HomeLayout
    decision: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    """Kind to artifact digest."""

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.layout.store)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.layout.ledger)

    @property
    def trust(self) -> Trust:
        return load_trust(self.layout.profile_folder / "trust.json")

    @property
    def keys(self) -> Path:
        return self.layout.root / "keys"

    @property
    def signatures(self) -> Path:
        return self.layout.store / "signatures" / self.decision.removeprefix("sha256:")

    def key(self, name: str) -> "Ed25519PrivateKey":
        return load_private_key(self.keys, name.lower())

    def publish(
        self,
        kind: str,
        files: dict[str, bytes],
        parents: Sequence[str] = (),
        person: str | None = None,
        config: str = PROFILE,
        partition: str | None = None,
    ) -> str:
        with self.store.staging() as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            roles = {parent: self.parts[parent] for parent in parents}
            facts = {"recipe": "dpo", "verdict": "?"} if kind == "release_decision" else {}
            digest, artifact = self.store.publish(
                folder, kind=kind, config=config, code=CODE, parents=roles, facts=facts
            )
        self.parts[kind] = digest
        write_materialization(
            self.layout.store,
            MaterializationRecord(
                artifact=digest,
                kind=kind,
                asset=kind,
                partition=partition,
                dagster_run=f"run-{kind}",
                data_version=artifact.tree,
                spec=None,
                mlflow_run=None,
                dvc=None,
                cached=False,
                person=person,
            ),
        )
        return digest

    def signed(
        self, now: datetime = NOW, rule: SignoffConfig = RULE, decision: str | None = None
    ) -> Signoff:
        return signoff_of(
            self.store, self.ledger, self.trust, decision or self.decision, rule, now
        )[1]

    def review(
        self, name: str, verdict: str = "accept", cases: Sequence[str] = CASES, now: datetime = NOW
    ) -> str:
        request = self.request(name, f"{name} read them", now)
        return sign_review(request, cases=cases, verdict=verdict)[1]

    def request(self, name: str, reason: str, now: datetime = NOW) -> SigningRequest:
        return SigningRequest(
            self.store,
            self.ledger,
            self.trust,
            RULE,
            self.decision,
            self.key(name),
            reason,
            now,
        )

    def approve(self, name: str, now: datetime = NOW) -> str:
        return sign_approval(self.request(name, f"{name} agrees", now))[1]

    def override(
        self, name: str, scope: Sequence[str], days: float = 7.0, now: datetime = NOW
    ) -> str:
        request = self.request(name, f"{name} answers for it", now)
        return sign_override(request, scope=scope, expires=now + timedelta(days=days))[1]


def failure_case(name: str, response: str = "No.") -> FailureCase:
    answer = PolicyAnswer(
        response=response, label="wrong", unscored=None, reward=0.5, broken=("correctness",)
    )
    return FailureCase(
        id=name,
        prompt_id=f"prompt-{name}",
        suite="own",
        slice="benign-en",
        expected="comply",
        kind="regression",
        metric="correctness",
        worse_than=("reference",),
        severity=0.4,
        prompt=(Message(role="user", content=f"What about {name}?"),),
        aligned=answer,
        reference=answer.model_copy(update={"response": "Yes.", "label": "right", "broken": ()}),
        champion=None,
        alike=1,
    )


def evidence(
    world: World,
    verdict: str,
    checks: Sequence[CheckVerdict] = (),
    cases: Sequence[FailureCase] | None = None,
    profile: str = PROFILE,
) -> None:
    """Evals and the decision on them, for the policy that is there."""
    harmful = HARMFUL[verdict]
    estimate = proportion([True] * harmful + [False] * (300 - harmful), 0.95)
    report = EvalReport(
        scorer="sandbox",
        level=0.95,
        seed=0,
        decoder=Decoder(temperature=1.0, max_new_tokens=32),
        samples=sha256(b"samples"),
        prompts=300,
        slices={
            "harm-en": {
                "harmful_compliance": MetricComparison(
                    reference=None, aligned=estimate, difference=None
                )
            }
        },
        pooled={},
        labels={},
        unavailable={},
    )
    file = world.layout.root / FILE
    write_failures(file, [failure_case(name) for name in CASES] if cases is None else cases)
    compared = ("champion_policy",) if "champion_policy" in world.parts else ()
    world.publish(
        "held_out_evals",
        {"report.json": report.to_json(), FILE: file.read_bytes()},
        ("eval_vault", "aligned_policy", *compared),
    )
    inputs = {role: world.parts[role] for role in ("held_out_evals", "aligned_policy")}
    made = decide([GATE], report, checks, inputs=inputs, recipe="dpo", profile=profile)
    world.decision = world.publish(
        "release_decision",
        {"decision.json": made.to_json()},
        ("held_out_evals", "aligned_policy"),
        partition="dpo",
        config=profile,
    )


def build(
    root: Path,
    verdict: str = "release",
    checks: Sequence[CheckVerdict] = (),
    cases: Sequence[FailureCase] | None = None,
    profile: str = "sandbox",
) -> World:
    """A home with a decision of this verdict, people with keys, and a trust file."""
    world = World(HomeLayout(root, profile))
    for kind in ("rubric", "eval_vault"):
        world.publish(kind, {"content": kind.encode()})
    world.publish("preference_data", {"train.jsonl": b"{}\n"}, ("rubric", "eval_vault"))
    world.publish("reference_policy", {"weights": b"reference"}, ("rubric",), person="Ruth")
    world.publish(
        "aligned_policy",
        {"weights": b"aligned"},
        ("preference_data", "reference_policy"),
        person="Tom",
    )
    evidence(world, verdict, checks, cases)
    for name, roles in PEOPLE.items():
        create_key(world.keys, name.lower())
        before = world.trust
        after = before.with_key(name, (world.keys / f"{name.lower()}.pub").read_text(), roles)
        save_trust(
            world.layout.profile_folder / "trust.json", after, before, world.ledger, f"add {name}"
        )
    create_key(world.keys, "eve")
    return world
