"""Whether the artifacts of one lineage belong together: rubric, data and policies move as one
triple, and a decision cites what it was made from."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from plumbline.errors import ConfigError, GateRefused
from plumbline.lineage.findings import RESTORE, Finding
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    CHAMPION_POLICY,
    DECISION_FILE,
    DEMONSTRATIONS,
    EVAL_VAULT,
    FEEDBACK_BATCH,
    HELD_OUT_EVALS,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    RELEASE_DECISION,
    RELEASE_FILE,
    REPORT_FILE,
    REWARD_MODEL,
    RUBRIC_FILE,
    TRAIN_FILE,
    VALIDATION_FILE,
)
from plumbline.schema.rubric import Rubric
from plumbline.storage.artifacts import Artifact, ArtifactStore

SINGLE_KINDS = (
    "rubric",
    DEMONSTRATIONS,
    PREFERENCE_DATA,
    EVAL_VAULT,
    REFERENCE_POLICY,
    REWARD_MODEL,
    ALIGNED_POLICY,
)
"""Kinds of which one lineage may hold one tree only; batches of feedback are many, and each keeps
the rubric it was admitted under."""

CHAMPION_ROLE = CHAMPION_POLICY
"""Role of the policy that a candidate is compared with; it was made from a triple of its own, and
that is no disagreement."""

AGAIN = "materialize the assets that used the older one again, then everything downstream of them"


def disagreements(
    manifests: Mapping[str, Artifact], folder: Callable[[str], Path]
) -> list[Finding]:
    """Findings about artifacts that are each intact and do not fit together.

    Args:
        manifests: Every manifest of the lineage by digest, nearest first.
        folder: Where the files of a tree are.
    """
    findings = list(_released_without_release(manifests))
    own = _own_lineage(manifests)
    findings += [finding for kind in SINGLE_KINDS for finding in _several(kind, own)]
    for digest, artifact in manifests.items():
        if artifact.kind == PREFERENCE_DATA:
            findings += _pairs_of_another_rubric(digest, artifact, manifests, folder)
        if artifact.kind in _CITING:
            name, read = _CITING[artifact.kind]
            findings += _citations(digest, artifact, manifests, folder(artifact.tree) / name, read)
    return findings


def require_triple(store: ArtifactStore, parents: Mapping[str, str], what: str) -> None:
    """Refuse to make an artifact from parents whose lineages hold different rubrics, datasets or
    policies.

    Args:
        store: The artifact store; manifests are read, files are not.
        parents: Role to digest of the artifacts that it would be made from.
        what: What would be made, for the message.

    Raises:
        GateRefused: If the parents do not belong together; says which, and what to materialize
            again.
        ArtifactError: If a manifest of the lineage is missing or was changed.
    """
    manifests: dict[str, Artifact] = {}
    queue = list(_own_parents(parents).values())
    for digest in queue:  # grows while it is read
        if digest not in manifests:
            manifests[digest] = store.manifest(digest)
            queue += _own_parents(manifests[digest].parents).values()
    edges = {
        **{digest: artifact.parents for digest, artifact in manifests.items()},
        what: dict(parents),
    }
    for kind in SINGLE_KINDS:
        for finding in _several(kind, manifests, edges):
            raise GateRefused(
                f"{what}: {finding.what}: {finding.expected} and {finding.found}. Rubric, data and"
                f" policy move together: {finding.remedy}"
            )


def _own_parents(parents: Mapping[str, str]) -> dict[str, str]:
    return {role: parent for role, parent in parents.items() if role != CHAMPION_ROLE}


def _own_lineage(manifests: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The manifests that the first one was made from, without those of the champion that it was
    only compared with."""
    own: dict[str, Artifact] = {}
    queue = list(manifests)[:1]
    for digest in queue:  # grows while it is read
        if digest in manifests and digest not in own:
            own[digest] = manifests[digest]
            queue += _own_parents(manifests[digest].parents).values()
    return own


def require_new_version(store: ArtifactStore, rubric: Rubric) -> None:
    """Refuse a rubric that was edited without a new version: labels that cite `name@version` must
    mean one text.

    Raises:
        ConfigError: If a rubric in the store has the same label and another content.
    """
    for digest in store.manifests():
        artifact = store.manifest(digest)
        if artifact.kind == "rubric" and artifact.facts.get("label") == rubric.label:
            try:
                before = Rubric.from_json(
                    (store.open(digest, kind="rubric")[0] / RUBRIC_FILE).read_bytes()
                )
            except ValidationError:
                # written by a Plumbline whose rubrics had other fields: nothing to compare
                continue
            # Compared as records and not by digest: a field that a newer Plumbline added with a
            # default is no edit.
            changed = [
                name
                for name in Rubric.model_fields
                if getattr(before, name) != getattr(rubric, name)
            ]
            if changed:
                raise ConfigError(
                    f"rubric {rubric.label} was edited ({', '.join(changed)}) and kept its version,"
                    f" but {digest} has the same label: set version to {rubric.version + 1}, and"
                    f" name {rubric.label} under `accepts` if judgments under it still count"
                )


def _pairs_of_another_rubric(
    digest: str, data: Artifact, manifests: Mapping[str, Artifact], folder: Callable[[str], Path]
) -> Iterator[Finding]:
    """A finding when preference data say that they follow another rubric than their parent, or hold
    pairs that it does not accept."""
    rubric = manifests.get(data.parents.get("rubric", ""))
    label = None if rubric is None else rubric.facts.get("label")
    if rubric is None or not isinstance(label, str):
        return  # a missing rubric is a finding already
    cited = {str(data.facts["rubric"])} - {label} if "rubric" in data.facts else set()
    for name in sorted(set(data.files) & {TRAIN_FILE, VALIDATION_FILE, "calibration.jsonl"}):
        path = folder(data.tree) / name
        if path.is_file():  # a missing file is a finding already
            cited |= _rubrics_in(path) - {label, *_accepted(folder(rubric.tree) / RUBRIC_FILE)}
    for other in sorted(cited):
        yield Finding(
            artifact=digest,
            what="pairs of another rubric than the one that they were made from",
            expected=label,
            found=other,
            remedy=AGAIN,
        )


def _accepted(path: Path) -> list[str]:
    """Labels of the earlier versions that a rubric accepts; none when the file cannot be read,
    which is a finding about its bytes."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    accepts = content.get("accepts") if isinstance(content, dict) else None
    return [str(label) for label in accepts] if isinstance(accepts, list) else []


_RUBRIC = re.compile(rb'"rubric":"((?:[^"\\]|\\.)*)"')
"""The field in canonical JSON; inside a text its quotes would be escaped, so that it cannot be
mistaken for one."""


def _rubrics_in(path: Path) -> set[str]:
    """Labels of the rubrics that the rows of a file cite."""
    recorded: set[bytes] = set()
    with path.open("rb") as stream:
        for line in stream:
            recorded.update(_RUBRIC.findall(line))
    return {label.decode(errors="backslashreplace") for label in recorded}


def _released_without_release(manifests: Mapping[str, Artifact]) -> Iterator[Finding]:
    """A finding for every release whose decision came to another verdict; whether an override
    stands behind it, the ledger says."""
    for digest, artifact in manifests.items():
        decision = manifests.get(artifact.parents.get(RELEASE_DECISION, ""))
        overridden = decision is not None and artifact.facts.get("released_by") == "override"
        if (
            artifact.kind == "release"
            and not overridden
            and (decision is None or decision.facts.get("verdict") != "release")
        ):
            verdict = None if decision is None else str(decision.facts.get("verdict"))
            remedy = "withdraw the release: no recorded decision allows it"
            yield Finding(
                artifact=digest,
                what="released without a decision to release",
                expected="release",
                found=verdict,
                remedy=remedy,
            )


def _several(
    kind: str,
    manifests: Mapping[str, Artifact],
    edges: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Finding]:
    """A finding when the artifacts of a lineage build on different trees of one kind.

    Args:
        kind: The kind that may occur once.
        manifests: The artifacts of the lineage.
        edges: Parents of each artifact, and of one that is yet to be made; those of the manifests
            by default.
    """
    users: dict[str, list[str]] = {}
    for digest, parents in (
        edges or {digest: artifact.parents for digest, artifact in manifests.items()}
    ).items():
        if digest in manifests and manifests[digest].kind == FEEDBACK_BATCH:
            continue
        for parent in _own_parents(parents).values():
            if parent in manifests and manifests[parent].kind == kind:
                users.setdefault(manifests[parent].tree, []).append(digest)
    if len(users) > 1:
        (first, _), *others = users.items()
        for tree, digests in others:
            what = (
                f"{kind}: {_named(digests, manifests)} was made from another one than"
                f" {_named(users[first], manifests)}"
            )
            yield Finding(artifact=digests[0], what=what, expected=first, found=tree, remedy=AGAIN)


def _named(digests: list[str], manifests: Mapping[str, Artifact]) -> str:
    return ", ".join(
        f"{manifests[digest].kind} {digest[7:19]}" if digest in manifests else digest
        for digest in digests
    )


_Citations = dict[str, Any]
"""What a file cites: role of a parent to its digest, and the digests of the profile and of the
report of the evals."""


def _decision(content: dict[str, Any]) -> _Citations:
    inputs = content.get("inputs")
    return {
        **(inputs if isinstance(inputs, dict) else {HELD_OUT_EVALS: None}),
        THE_PROFILE: content.get("profile"),
        THE_REPORT: content.get("report"),
    }


def _release(content: dict[str, Any]) -> _Citations:
    return {ALIGNED_POLICY: content.get("policy"), RELEASE_DECISION: content.get("decision")}


THE_PROFILE, THE_REPORT = "the profile", "the eval report"
_CITING: Mapping[str, tuple[str, Callable[[dict[str, Any]], _Citations]]] = {
    RELEASE_DECISION: (DECISION_FILE, _decision),
    "release": (RELEASE_FILE, _release),
}
"""By kind: the file that cites other artifacts, and how to read its citations."""


def _named_by_manifest(
    role: str, artifact: Artifact, manifests: Mapping[str, Artifact]
) -> str | None:
    """The digest that a citation must have, from the manifests."""
    if role == THE_PROFILE:
        return artifact.config
    if role == THE_REPORT:
        evals = manifests.get(artifact.parents.get(HELD_OUT_EVALS, ""))
        report = None if evals is None else evals.files.get(REPORT_FILE)
        return None if report is None else report.digest
    return artifact.parents.get(role)


def _citations(
    digest: str,
    artifact: Artifact,
    manifests: Mapping[str, Artifact],
    path: Path,
    read: Callable[[dict[str, Any]], _Citations],
) -> Iterator[Finding]:
    """Findings where a decision or release cites other inputs, or another profile, than its
    manifest."""
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        if (
            path.name not in artifact.files
        ):  # a listed file that is missing is a finding about the bytes already
            yield Finding(
                artifact=digest,
                what=f"{path}: a {artifact.kind} without this file",
                expected=path.name,
                found=None,
                remedy=AGAIN,
            )
        return
    except (OSError, ValueError) as error:
        yield Finding(
            artifact=digest,
            what=f"{path}: cannot be read: {error}",
            expected="a JSON object",
            found=None,
            remedy=RESTORE,
        )
        return
    for role, cited in (
        read(content) if isinstance(content, dict) else {"the content": None}
    ).items():
        named = _named_by_manifest(role, artifact, manifests)
        if named is None and role == THE_REPORT:
            continue  # the evals, or their report, are missing, which is a finding of its own
        if named is None or cited not in (
            named,
            manifests[named].tree if named in manifests else named,
        ):
            what = f"{path.name}: cites another digest for {role} than its manifest"
            yield Finding(
                artifact=digest,
                what=what,
                expected=named,
                found=None if cited is None else str(cited),
                remedy=AGAIN,
            )
