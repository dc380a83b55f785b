"""Whether the artifacts of one lineage belong together: rubric, data and policies move as one triple, and a decision cites what it was made from."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plumbline.artifacts import Artifact
from plumbline.audit.findings import RESTORE, Finding

SINGLE_KINDS = ("rubric", "demonstrations", "preference_data", "eval_vault", "reference_policy", "reward_model", "aligned_policy")
"""Kinds of which one lineage may hold one tree only; batches of feedback are many, and each keeps the rubric it was admitted under."""

AGAIN = "materialize the assets that used the older one again, then everything downstream of them"


def disagreements(manifests: Mapping[str, Artifact], folder: Callable[[str], Path]) -> list[Finding]:
    """Findings about artifacts that are each intact and do not fit together.

    Args:
        manifests: Every manifest of the lineage by digest, nearest first.
        folder: Where the files of a tree are.
    """
    findings = list(_released_without_release(manifests))
    findings += [finding for kind in SINGLE_KINDS for finding in _several(kind, manifests)]
    for digest, artifact in manifests.items():
        if artifact.kind in _CITING:
            name, read = _CITING[artifact.kind]
            findings += _citations(digest, artifact, manifests, folder(artifact.tree) / name, read)
    return findings


def _released_without_release(manifests: Mapping[str, Artifact]) -> Iterator[Finding]:
    """A finding for every release whose decision came to another verdict."""
    for digest, artifact in manifests.items():
        decision = manifests.get(artifact.parents.get("release_decision", ""))
        if artifact.kind == "release" and (decision is None or decision.facts.get("verdict") != "release"):
            verdict = None if decision is None else str(decision.facts.get("verdict"))
            remedy = "withdraw the release: no recorded decision allows it"
            yield Finding(artifact=digest, what="released without a decision to release", expected="release", found=verdict, remedy=remedy)


def _several(kind: str, manifests: Mapping[str, Artifact]) -> Iterator[Finding]:
    """A finding when the artifacts of a lineage build on different trees of one kind."""
    users: dict[str, list[str]] = {}
    for digest, artifact in manifests.items():
        if artifact.kind == "feedback_batch":
            continue
        for parent in artifact.parents.values():
            if parent in manifests and manifests[parent].kind == kind:
                users.setdefault(manifests[parent].tree, []).append(digest)
    if len(users) > 1:
        (first, _), *others = users.items()
        for tree, digests in others:
            what = f"{kind}: {_named(digests, manifests)} was made from another one than {_named(users[first], manifests)}"
            yield Finding(artifact=digests[0], what=what, expected=first, found=tree, remedy=AGAIN)


def _named(digests: list[str], manifests: Mapping[str, Artifact]) -> str:
    return ", ".join(f"{manifests[digest].kind} {digest[7:19]}" for digest in digests)


_Citations = dict[str, Any]
"""What a file cites: role of a parent to its digest, and the digests of the profile and of the report of the evals."""


def _decision(content: dict[str, Any]) -> _Citations:
    inputs = content.get("inputs")
    return {**(inputs if isinstance(inputs, dict) else {"held_out_evals": None}), THE_PROFILE: content.get("profile"), THE_REPORT: content.get("report")}


def _release(content: dict[str, Any]) -> _Citations:
    return {"aligned_policy": content.get("policy"), "release_decision": content.get("decision")}


THE_PROFILE, THE_REPORT = "the profile", "the eval report"
_CITING: Mapping[str, tuple[str, Callable[[dict[str, Any]], _Citations]]] = {
    "release_decision": ("decision.json", _decision),
    "release": ("release.json", _release),
}
"""By kind: the file that cites other artifacts, and how to read its citations."""


def _named_by_manifest(role: str, artifact: Artifact, manifests: Mapping[str, Artifact]) -> str | None:
    """The digest that a citation must have, from the manifests."""
    if role == THE_PROFILE:
        return artifact.config
    if role == THE_REPORT:
        evals = manifests.get(artifact.parents.get("held_out_evals", ""))
        report = None if evals is None else evals.files.get("report.json")
        return None if report is None else report.digest
    return artifact.parents.get(role)


def _citations(
    digest: str, artifact: Artifact, manifests: Mapping[str, Artifact], path: Path, read: Callable[[dict[str, Any]], _Citations]
) -> Iterator[Finding]:
    """Findings where a decision or release cites other inputs, or another profile, than its manifest."""
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        if path.name not in artifact.files:  # a listed file that is missing is a finding about the bytes already
            yield Finding(artifact=digest, what=f"{path}: a {artifact.kind} without this file", expected=path.name, found=None, remedy=AGAIN)
        return
    except (OSError, ValueError) as error:
        yield Finding(artifact=digest, what=f"{path}: cannot be read: {error}", expected="a JSON object", found=None, remedy=RESTORE)
        return
    for role, cited in (read(content) if isinstance(content, dict) else {"the content": None}).items():
        named = _named_by_manifest(role, artifact, manifests)
        if named is None and role == THE_REPORT:
            continue  # the evals, or their report, are missing, which is a finding of its own
        if named is None or cited not in (named, manifests[named].tree if named in manifests else named):
            what = f"{path.name}: cites another digest for {role} than its manifest"
            yield Finding(artifact=digest, what=what, expected=named, found=None if cited is None else str(cited), remedy=AGAIN)
