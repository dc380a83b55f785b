"""The walk from one artifact to everything it was made from.

It reads only the store: manifests, the files they name, and the materialization records and
certificates beside them. Everything that is missing or disagrees becomes a finding; the walk goes
on as far as the records lead, so that one look shows all of them. Other systems are asked through
cross-checks.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from plumbline.audit.tree_bytes import TreeBytes, cross_check_dvc
from plumbline.data.quality.uncertified import uncertified
from plumbline.errors import LineageError
from plumbline.lineage.consistency import disagreements
from plumbline.lineage.findings import RESTORE, Finding, Witness
from plumbline.lineage.materializations import (
    MaterializationRecord,
    materialization_files,
    read_materialization,
)
from plumbline.lineage.tombstones import ErasedTree
from plumbline.records import Record, sha256
from plumbline.storage.artifacts import Artifact, ArtifactStore
from plumbline.storage.code_identity import CodeIdentity

UNPRODUCED = frozenset({"samples"})
"""Kinds that a job writes on the way to another artifact and that no asset materializes."""


class Node(Record):
    """One artifact of the lineage with what was recorded about it."""

    artifact: str = Field(description="artifact digest")
    kind: str
    tree: str
    config: str = Field(description="digest of the profile")
    code: CodeIdentity
    parents: dict[str, str] = Field(
        description="role to artifact digest; a digest without a node is a finding"
    )
    facts: dict[str, Any]
    files: int
    size: int = Field(description="bytes of all files")
    productions: tuple[MaterializationRecord, ...]
    erased: str | None = Field(
        default=None,
        description=(
            "why and by whom its files were erased; null when they are there, or missing without a"
            " record"
        ),
    )


class Lineage(Record):
    """One artifact and its ancestors, nearest first, with everything that is wrong with them."""

    root: str
    nodes: dict[str, Node]
    findings: tuple[Finding, ...]
    cross_checks: tuple[str, ...] = Field(description="systems that were asked beside the store")

    @property
    def verified(self) -> bool:
        """True when nothing is missing and nothing disagrees."""
        return not self.findings


def walk(
    store: ArtifactStore, digest: str, cross_checks: Mapping[str, Witness] | None = None
) -> Lineage:
    """Walk from an artifact through its parents to every ancestor, re-hashing every file on the
    way.

    Args:
        store: The artifact store; it is only read.
        digest: Artifact digest to start from.
        cross_checks: Other systems by name; each is asked about every record. The DVC version is
            recomputed always.
    """
    trees = TreeBytes(store.root)
    asked = {"DVC": cross_check_dvc(store.root), **(cross_checks or {})}
    nodes: dict[str, Node] = {}
    manifests: dict[str, Artifact] = {}
    findings: list[Finding] = []
    seen, queue = {digest}, [(digest, "the artifact that was asked for")]
    for current, named_by in queue:  # grows while it is read
        artifact = _manifest(store, current, named_by, findings)
        if artifact is None:
            continue
        manifests[current] = artifact
        findings += trees.compare(current, artifact)
        records = _materializations(store, current, artifact, findings)
        for record in records:
            for cross_check in asked.values():
                findings += cross_check(record)
        nodes[current] = _node(current, artifact, records, trees.erased.get(artifact.tree))
        for role, parent in artifact.parents.items():
            if parent not in seen:
                seen.add(parent)
                queue.append((parent, f"`{role}` of {artifact.kind} {current}"))
    findings += [*disagreements(manifests, trees.folder), *uncertified(manifests, store.root)]
    return Lineage(root=digest, nodes=nodes, findings=tuple(findings), cross_checks=tuple(asked))


def _node(
    digest: str,
    artifact: Artifact,
    records: tuple[MaterializationRecord, ...],
    erased: ErasedTree | None,
) -> Node:
    return Node(
        artifact=digest,
        kind=artifact.kind,
        tree=artifact.tree,
        config=artifact.config,
        code=artifact.code,
        parents=artifact.parents,
        facts=artifact.facts,
        files=len(artifact.files),
        size=sum(entry.size for entry in artifact.files.values()),
        productions=records,
        erased=(
            None
            if erased is None
            else (
                f"{erased.reason} ({erased.by}, {erased.erased_at:%Y-%m-%d}, withdrawal"
                f" {erased.withdrawal})"
            )
        ),
    )


def _manifest(
    store: ArtifactStore, digest: str, named_by: str, findings: list[Finding]
) -> Artifact | None:
    """The manifest of an artifact; one that was changed is still followed if it can be read, so
    that the findings behind it show as well."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        findings.append(
            Finding(
                artifact=digest,
                what=f"{named_by}: is not a digest",
                expected="sha256: and 64 hex digits",
                found=digest,
                remedy=RESTORE,
            )
        )
        return None
    path = store.root / "manifests" / f"{digest.removeprefix('sha256:')}.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        what = (
            f"{path}: the manifest of {named_by} is missing"
            if isinstance(error, FileNotFoundError)
            else f"{path}: cannot be read ({error.strerror})"
        )
        findings.append(
            Finding(artifact=digest, what=what, expected=digest, found=None, remedy=RESTORE)
        )
        return None
    if sha256(data) != digest:
        what = f"{path}: the manifest was changed after it was written"
        findings.append(
            Finding(artifact=digest, what=what, expected=digest, found=sha256(data), remedy=RESTORE)
        )
    try:
        return Artifact.from_json(data)
    except ValidationError as error:
        what = f"{path}: is not a manifest of this version: {error.errors()[0]['msg']}"
        findings.append(
            Finding(
                artifact=digest,
                what=what,
                expected="an artifact manifest",
                found=None,
                remedy=RESTORE,
            )
        )
        return None


def _materializations(
    store: ArtifactStore, digest: str, artifact: Artifact, findings: list[Finding]
) -> tuple[MaterializationRecord, ...]:
    """The materialization records of an artifact that can be read."""
    files = materialization_files(store.root, digest)
    if not files and artifact.kind not in UNPRODUCED:
        what = f"no run recorded that it produced this {artifact.kind}"
        remedy = (
            "restore the store's productions folder from a copy, or materialize the asset again:"
            " identical bytes get the same digest and a new record"
        )
        findings.append(
            Finding(
                artifact=digest,
                what=what,
                expected="at least one record",
                found=None,
                remedy=remedy,
            )
        )
    records = []
    for path in files:
        try:
            record = read_materialization(path, digest)
        except LineageError as error:
            findings.append(
                Finding(
                    artifact=digest,
                    what=str(error),
                    expected="a record of this artifact",
                    found=None,
                    remedy=RESTORE,
                )
            )
            continue
        records.append(record)
        for name, expected, recorded in (
            ("data version", artifact.tree, record.data_version),
            ("kind", artifact.kind, record.kind),
        ):
            if expected != recorded:
                what = f"{path}: the {name} of the record differs from the manifest"
                findings.append(
                    Finding(
                        artifact=digest,
                        what=what,
                        expected=expected,
                        found=recorded,
                        remedy=RESTORE,
                    )
                )
    return tuple(records)
