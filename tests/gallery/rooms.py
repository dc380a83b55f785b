"""Where people sign: an artifact store with a decision, a ledger, a trust file and the keys of a
few people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plumbline.evaluation import failure_cases
from plumbline.evaluation.scoring import ScoredSample
from plumbline.lineage.ledger import Ledger
from plumbline.lineage.materializations import write_materialization
from plumbline.profile.release import SignoffConfig
from plumbline.release.candidate import candidate_of
from plumbline.release.decision import Decision
from plumbline.release.signing.keys import create_key, load_private_key
from plumbline.release.signing.sign import SigningRequest, sign_approval, sign_review
from plumbline.release.signing.trust import Role, Trust
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.held_out import EvalPrompt
from plumbline.storage.jsonl import write_records
from tests.unit.audit.chain import Chain, build

TRAINER = "dana"
PEOPLE: Mapping[str, tuple[Role, ...]] = {
    "alice": ("reviewer",),
    "bob": ("approver",),
    "olga": ("owner",),
    TRAINER: ("reviewer", "approver"),
}
"""Who is in the trust file; `mallory` has a key and is not."""


@dataclass
class Room:
    """Everything that a sign-off is concluded from."""

    chain: Chain
    ledger: Ledger
    trust: Trust
    keys: Path
    rule: SignoffConfig
    now: datetime
    decision: str = ""
    cases: tuple[str, ...] = ()

    def key(self, person: str):
        """The private key of a person."""
        return load_private_key(self.keys, person)

    def decide(
        self,
        made: Decision,
        report: EvalReport,
        scored: list[ScoredSample],
        prompts: tuple[EvalPrompt, ...],
    ) -> None:
        """Publish the evals and their decision; it is what the room is about from now on."""
        name = f"decision-{len(self.chain.digests)}"
        cases = failure_cases.failure_cases(prompts, scored)
        with self.chain.store.staging() as folder:
            failure_cases.write_failures(folder / failure_cases.FILE, cases)
            write_records(folder / "scored.jsonl", scored)
            files = {path.name: path.read_text() for path in folder.iterdir()}
        files["report.json"] = report.to_json().decode()
        models = ("eval_vault", "reference_policy", "reward_model", "aligned_policy", "samples")
        self.chain.publish(f"evals-of-{name}", files, kind="held_out_evals", parents=models)
        inputs = {
            "held_out_evals": self.chain.digests[f"evals-of-{name}"],
            "aligned_policy": self.chain.digests["aligned_policy"],
        }
        content = made.model_copy(update={"inputs": inputs}).to_json().decode()
        parents = (("held_out_evals", f"evals-of-{name}"), "aligned_policy")
        self.decision = self.chain.publish(
            name,
            {"decision.json": content},
            kind="release_decision",
            parents=parents,
            config=made.profile,
        )
        self.cases = tuple(case.id for case in cases)

    def review(
        self,
        person: str = "alice",
        verdict: str = "accept",
        reason: str = "I read them.",
        now: datetime | None = None,
    ) -> None:
        """A person reads every failure case and says whether the candidate may be released."""
        request = self._request(person, reason, now)
        sign_review(request, cases=self.cases, verdict=verdict)

    def approve(self, person: str = "bob", now: datetime | None = None) -> None:
        """A person approves the release."""
        sign_approval(self._request(person, "The evidence holds.", now))

    def _request(self, person: str, reason: str, now: datetime | None) -> SigningRequest:
        return SigningRequest(
            self.chain.store,
            self.ledger,
            self.trust,
            self.rule,
            self.decision,
            self.key(person),
            reason,
            now or self.now,
        )

    def claims(self, person: str, at: datetime | None = None) -> dict[str, object]:
        """What a statement of a person says, without asking whether it would count."""
        candidate = candidate_of(self.chain.store, self.decision)
        return {
            "candidate": candidate.digest(),
            "decision": candidate.decision,
            "policy": candidate.policy,
            "by": person,
            "reason": "Ready.",
            "at": at or self.now,
            "ledger": self.ledger.head(),
            "trust": self.trust.digest(),
        }


def open_room(folder: Path, rule: SignoffConfig, now: datetime) -> Room:
    """A room with a complete lineage whose models were trained by `TRAINER`, and keys for
    everybody."""
    chain = build(folder / "store")
    for name in ("reference_policy", "reward_model", "aligned_policy"):
        write_materialization(
            chain.store.root, chain.productions[name].model_copy(update={"person": TRAINER})
        )
    trust, keys = Trust(people={}), folder / "keys"
    for person in (*PEOPLE, "mallory"):
        create_key(keys, person)
        if person in PEOPLE:
            trust = trust.with_key(person, (keys / f"{person}.pub").read_text(), PEOPLE[person])
    return Room(chain, Ledger(folder / "ledger.db"), trust, keys, rule, now)


def honest(room: Room) -> None:
    """What the people of a release do: one reviews, another approves."""
    room.review()
    room.approve()
