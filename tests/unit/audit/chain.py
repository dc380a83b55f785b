"""A small but complete chain of artifacts, from the rubric to a release, with productions: what the
assets write, without running them."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plumbline.audit.tree_bytes import dvc_version
from plumbline.data.quality.certificate import CheckResult, certify, write_certificate
from plumbline.lineage.ledger import Ledger
from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.records import sha256
from plumbline.release.promotion import promote
from plumbline.release.signing.statements import Approval
from plumbline.release.signing.stored import record_signature
from plumbline.schema.suites import Expectation, Suite
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import CodeIdentity

PROFILE = sha256(b"profile")
CODE = CodeIdentity(
    commit="0123456789abcdef0123456789abcdef01234567",
    dirty=False,
    source=sha256(b"source"),
    packages={"torch": "2.13.0"},
)
ASSETS = {"feedback_batch": "feedback", "release": "released_policy"}
JOBS = ("reference_policy", "reward_model", "aligned_policy", "held_out_evals")


@dataclass
class Chain:
    store: ArtifactStore
    digests: dict[str, str] = field(default_factory=dict)
    productions: dict[str, MaterializationRecord] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        return (
            self.store.root
            / "trees"
            / self.store.manifest(self.digests[name]).tree.removeprefix("sha256:")
        )

    def manifest_path(self, name: str) -> Path:
        return self.store.root / "manifests" / f"{self.digests[name].removeprefix('sha256:')}.json"

    def publish(
        self,
        name,
        files,
        *,
        kind=None,
        parents=(),
        facts=None,
        config=PROFILE,
        produced=True,
        **production,
    ):
        """Publish one artifact under a name of the test; parents are names or (role, name)."""
        kind = kind or name
        roles = dict(
            parent if isinstance(parent, tuple) else (parent, parent) for parent in parents
        )
        with self.store.staging() as folder:
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(
                    content if isinstance(content, str) else json.dumps(content)
                )
            version = dvc_version(folder) if kind == "preference_data" else None
            linked = {role: self.digests[parent] for role, parent in roles.items()}
            digest, artifact = self.store.publish(
                folder, kind=kind, config=config, code=CODE, parents=linked, facts=facts or {}
            )
        self.digests[name] = digest
        if produced:
            job = kind in JOBS
            fields = {
                "artifact": digest,
                "kind": kind,
                "asset": ASSETS.get(kind, kind),
                "partition": None,
                "dagster_run": f"run-{name}",
                "data_version": artifact.tree,
                "spec": sha256(name.encode()) if job else None,
                "mlflow_run": f"mlflow-{name}" if job else None,
                "dvc": version,
                "cached": False,
            }
            self.productions[name] = MaterializationRecord(**(fields | production))
            write_materialization(self.store.root, self.productions[name])
        return digest


def build(root: Path, batches: int = 2) -> Chain:
    """The chain of one recipe."""
    chain = Chain(ArtifactStore(root))
    chain.publish(
        "rubric",
        {"rubric.json": {"name": "helpful-harmless"}},
        facts={"label": "helpful-harmless@1", "owner": "alignment", "margins": {"better": 1.0}},
    )
    names = [f"batch-{number}" for number in range(batches)]
    for name in names:
        chain.publish(
            name,
            {"accepted.jsonl": f"{name}\n", "quarantined.jsonl": ""},
            kind="feedback_batch",
            facts={"events": 10, "accepted": 10},
            partition=name,
        )
    chain.publish("demonstrations", {"demonstrations.jsonl": "d\n"}, facts={"rows": 1})
    chain.publish("eval_vault", {"prompts.jsonl": "p\n"}, facts={"rows": 1})
    splits = {
        f"{split}.jsonl": f"{split}\n"
        for split in ("train", "validation", "calibration", "set_aside")
    }
    chain.publish(
        "preference_data",
        splits,
        parents=("rubric", "eval_vault", *((f"feedback:{name}", name) for name in names)),
        facts={"splits": {"train": 1}},
    )
    for name in ("demonstrations", "preference_data"):
        certify_data(chain, name)
    weights = {
        "model/model.safetensors": "weights",
        "model/config.json": "{}",
        "mask_receipt.json": "{}",
    }
    facts = {
        "mask": {"digest": sha256(b"mask"), "train": {"supervised": 1200, "masked": 3400}},
        "steps": 10,
    }
    chain.publish("reference_policy", weights, parents=("rubric", "demonstrations"), facts=facts)
    chain.publish(
        "reward_model",
        {**weights, "rm": "1"},
        parents=("rubric", "preference_data", "reference_policy"),
        facts=facts | {"margin_scale": 1.0},
    )
    chain.publish(
        "aligned_policy",
        {**weights, "dpo": "1"},
        parents=("rubric", "preference_data", "reference_policy"),
        facts=facts | {"beta": 0.1},
        partition="dpo",
    )
    models = ("eval_vault", "reference_policy", "reward_model", "aligned_policy")
    chain.publish("samples", {"samples.jsonl": "s\n"}, parents=models, produced=False)
    chain.publish(
        "held_out_evals",
        {"report.json": "{}", "scored.jsonl": "s\n"},
        parents=(*models, "samples"),
        facts={"level": 0.95},
        partition="dpo",
    )
    decide(chain)
    release = {
        "policy": chain.digests["aligned_policy"],
        "decision": chain.digests["release_decision"],
        "recipe": "dpo",
        "registered_model": "plumbline-sandbox",
        **promoted(chain),
    }
    chain.publish(
        "release",
        {"release.json": release},
        parents=("aligned_policy", "release_decision"),
        facts={"recipe": "dpo"},
        partition="dpo",
    )
    return chain


def promoted(chain: Chain) -> dict[str, object]:
    """What a release says about its promotion: an approval that is signed and entered in the
    ledger, and the promotion that rests on it."""
    ledger, policy, decision = (
        Ledger(chain.store.root.parent / "ledger.db"),
        chain.digests["aligned_policy"],
        chain.digests["release_decision"],
    )
    said = Approval(
        candidate=sha256(b"candidate"),
        decision=decision,
        policy=policy,
        by="Ana",
        reason="better everywhere",
        at=datetime(2026, 5, 4, tzinfo=UTC),
        ledger=ledger.head(),
        trust=sha256(b"trust"),
    )
    envelope = record_signature(chain.store.root, ledger, said, Ed25519PrivateKey.generate())
    made = promote(
        ledger,
        "sandbox",
        policy=policy,
        decision=decision,
        recipe="dpo",
        released_by="gates",
        by=("Ana",),
        reason="better everywhere",
    )
    return {"promotion": made.model_dump(mode="json"), "signatures": [{"envelope": envelope}]}


SUITE = Suite(
    name="pairs",
    minimum_rows=1,
    expectations=(
        Expectation(id="differs", type="expect_x", kwargs={}, severity="critical", reason="r"),
    ),
)


def certify_data(chain: Chain, name: str, status: str = "pass") -> Path:
    """Write the certificate of a data artifact; returns its file."""
    check = CheckResult(
        id="differs",
        status=status,
        observed=0.0,
        examined=10,
        unexpected=0,
        examples=(),
        message="",
    )
    tree = chain.store.manifest(chain.digests[name]).tree
    write_certificate(chain.store.root, certify(tree, SUITE, 10, [check]))
    return chain.store.root / "certificates" / f"{tree[7:]}-{SUITE.digest()[7:]}.json"


def decide(
    chain: Chain,
    name: str = "release_decision",
    profile: str = PROFILE,
    report: str = "",
    verdict: str = "release",
    **inputs: str,
) -> str:
    """Publish a decision that cites the evals and the policy, or what `inputs` says instead."""
    cited = {role: chain.digests[role] for role in ("held_out_evals", "aligned_policy")} | inputs
    report = (
        report or chain.store.manifest(chain.digests["held_out_evals"]).files["report.json"].digest
    )
    content = {
        "verdict": verdict,
        "gates": [],
        "inputs": cited,
        "recipe": "dpo",
        "profile": profile,
        "report": report,
        "summary": "",
    }
    facts = {"verdict": verdict, "recipe": "dpo", "thresholds": {"harm-en": 0.05}}
    return chain.publish(
        name,
        {"decision.json": content},
        kind="release_decision",
        parents=("held_out_evals", "aligned_policy"),
        facts=facts,
        partition="dpo",
    )
