"""`plumbline audit trace`: from an artifact to everything it was made from, verified on the way."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from pydantic import Field
from rich.console import Console
from rich.table import Table

from plumbline.audit.consent import WithdrawnSince, withdrawn_since
from plumbline.audit.releases import cross_check_ledger
from plumbline.audit.tree_view import draw
from plumbline.audit.walk import Lineage, walk
from plumbline.cli.options import HomeOption, layout_of
from plumbline.cli.orchestrator import orchestrator_of
from plumbline.errors import ArtifactError, ArtifactNotFound, LineageError
from plumbline.lineage.materializations import read_materializations
from plumbline.records import Record, canonical_json, short
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DEMONSTRATIONS,
    EVAL_VAULT,
    FEEDBACK_BATCH,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    RELEASE_DECISION,
    REWARD_MODEL,
)
from plumbline.storage.artifacts import Artifact, ArtifactStore
from plumbline.text.unsafe_characters import printable

Kind = Literal["release", "policy", "reward-model", "dataset"]
ARTIFACT_KINDS: Mapping[Kind, tuple[str, ...]] = {
    "release": ("release", RELEASE_DECISION),
    "policy": (ALIGNED_POLICY, REFERENCE_POLICY),
    "reward-model": (REWARD_MODEL,),
    "dataset": (PREFERENCE_DATA, DEMONSTRATIONS, FEEDBACK_BATCH, EVAL_VAULT),
}
"""What each word of the command line stands for; a decision that held or rejected a policy is
traced like one that released it."""

WITNESSES = ("Dagster", "MLflow")
WIDTH = 100
SHORTEST_PREFIX = 6


def trace(
    context: typer.Context,
    kind: Annotated[
        Kind,
        typer.Argument(help="What to trace. `release` includes decisions that held or rejected."),
    ],
    digest: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help=(
                "Digest or a unique prefix of it, at least 6 hex digits. Left out: lists what"
                " is there."
            ),
        ),
    ] = None,
    home: HomeOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Full digests and all facts, as JSON.")
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Do not ask Dagster and MLflow; says which cross-checks were not made.",
        ),
    ] = False,
) -> None:
    """Trace an artifact to every ancestor, re-hash every file, and cross-check Dagster and
    MLflow.

    Exit code 0: everything is there and agrees. 2: unknown id. 3: something is missing or
    disagrees; each finding says what to do. Consent that was withdrawn since for events behind
    a verified artifact is named, and does not change the exit code.
    """
    layout = layout_of(home)
    store = ArtifactStore(layout.store)
    if digest is None:
        _list(store, kind, as_json)
        raise typer.Exit(2)
    witnesses = orchestrator_of(context).witnesses
    asked = {} if offline or witnesses is None else witnesses(layout)
    reason = (
        "--offline"
        if offline
        else "the installed `plumbline` command asks it, `python -m plumbline` does not"
    )
    not_asked = {system: reason for system in WITNESSES if system not in asked}
    root = find(store, kind, digest)
    lineage = walk(store, root, {"the ledger": cross_check_ledger(layout), **asked})
    withdrawn = () if offline else tuple(withdrawn_since(store, layout, root))
    if as_json:
        typer.echo(_json(lineage, not_asked, withdrawn))
    else:
        draw(lineage, not_asked, _console())
        for since in withdrawn:
            typer.echo(printable(_sentence(since)))
    raise typer.Exit(0 if lineage.verified else 3)


def find(store: ArtifactStore, kind: Kind, given: str) -> str:
    """The artifact digest that a digest or prefix names; the data version (tree digest) that
    Dagster shows will do as well.

    Raises:
        ArtifactNotFound: If it names nothing, several artifacts, or one of another kind.
    """
    prefix = given.lower().removeprefix("sha256:")
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}", prefix):
        raise ArtifactNotFound(
            f"'{given}' is not an id; give at least {SHORTEST_PREFIX} hex digits of a digest, or"
            " none to list what is there"
        )
    # An artifact whose manifest is gone is still known by its productions: tracing it says what is
    # missing.
    known = {
        *store.manifests(),
        *(f"sha256:{folder.name}" for folder in (store.root / "productions").glob("*")),
    }
    named = sorted(digest for digest in known if digest.removeprefix("sha256:").startswith(prefix))
    if not named:
        trees = {
            digest: artifact.tree
            for digest, artifact in _readable(store).items()
            if artifact.kind in ARTIFACT_KINDS[kind]
        }
        named = [
            digest
            for digest, tree in trees.items()
            if tree.removeprefix("sha256:").startswith(prefix)
        ]
    if not named:
        raise ArtifactNotFound(
            f"no artifact in {store.root} has an id that starts with {prefix}; `plumbline audit"
            " trace"
            f" {kind}` lists what is there"
        )
    if len(named) > 1:
        raise ArtifactNotFound(
            f"{prefix} is not unique; it can be any of:\n"
            + "\n".join(f"  {digest}" for digest in named)
        )
    artifact = _readable(store).get(named[0])
    if artifact is not None and artifact.kind not in ARTIFACT_KINDS[kind]:
        words = [word for word, kinds in ARTIFACT_KINDS.items() if artifact.kind in kinds]
        advice = (
            f"use `plumbline audit trace {words[0]} {short(named[0])}`"
            if words
            else (
                f"it is an ancestor of other artifacts; `plumbline audit trace {kind}` lists what"
                " can be"
                " traced"
            )
        )
        raise ArtifactNotFound(f"{short(named[0])} is a {artifact.kind}, not a {kind}; {advice}")
    return named[
        0
    ]  # a manifest that cannot be read is traced, so that the finding says what is wrong with it


def _readable(store: ArtifactStore) -> dict[str, Artifact]:
    """Every manifest of the store that verifies."""
    manifests = {}
    for digest in store.manifests():
        try:
            manifests[digest] = store.manifest(digest)
        except ArtifactError as error:
            typer.echo(f"warning: {error}", err=True)
    return manifests


class Listed(Record):
    """One artifact that can be traced."""

    id: str
    kind: str
    written: str = Field(description="when its manifest was written, UTC")
    partition: str | None
    runs: tuple[str, ...] = Field(description="Dagster runs that made or reused it")
    verdict: str | None = Field(description="of a release decision")


def _listed(store: ArtifactStore, digest: str, artifact: Artifact) -> Listed:
    try:
        productions = read_materializations(store.root, digest)
    except LineageError as error:
        typer.echo(f"warning: {error}", err=True)
        productions = ()
    written = (store.root / "manifests" / f"{digest.removeprefix('sha256:')}.json").stat().st_mtime
    return Listed(
        id=digest,
        kind=artifact.kind,
        written=datetime.fromtimestamp(written, tz=UTC).isoformat(sep=" ", timespec="seconds"),
        partition=next((production.partition for production in productions), None),
        runs=tuple(production.dagster_run for production in productions),
        verdict=artifact.facts.get("verdict"),
    )


def _list(store: ArtifactStore, kind: Kind, as_json: bool) -> None:
    """Print what can be traced, newest first."""
    rows = [
        _listed(store, digest, artifact)
        for digest, artifact in _readable(store).items()
        if artifact.kind in ARTIFACT_KINDS[kind]
    ]
    rows.sort(key=lambda row: (row.written, row.id), reverse=True)
    if as_json:
        typer.echo(canonical_json([row.model_dump(mode="json") for row in rows]), nl=False)
        return
    if not rows:
        typer.echo(
            f"there is no {kind} in {store.root}; materialize the assets first, or give the right"
            " folder with --home",
            err=True,
        )
        return
    table = Table(
        "kind",
        "id",
        "written (UTC)",
        "partition",
        "run",
        "verdict",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for row in rows:
        runs = ", ".join(run[:8] for run in row.runs[:2]) + (
            f" and {len(row.runs) - 2} more" if len(row.runs) > 2 else ""
        )
        cells = (
            row.kind,
            short(row.id),
            row.written[:19],
            row.partition or "",
            runs,
            row.verdict or "",
        )
        table.add_row(*(printable(cell) for cell in cells))
    _console().print(table)
    typer.echo(f"give one of these ids: plumbline audit trace {kind} ID", err=True)


def _console() -> Console:
    """A console of the terminal's width, at most 100 columns; text that goes into a file is not
    wrapped to the 80 of an unknown terminal."""
    console = Console(highlight=False)
    if not console.is_terminal or console.width > WIDTH:
        console.width = WIDTH
    return console


def _sentence(since: WithdrawnSince) -> str:
    withdrawal = since.withdrawal
    return (
        f"consent withdrawn since: {withdrawal.kind} {withdrawal.subject},"
        f" {withdrawal.withdrawn_at:%Y-%m-%d} by"
        f" {withdrawal.by} ({since.events} events of profile {since.profile}); this artifact"
        " descends from"
        f" them: {since.action} it (`plumbline people consent show {withdrawal.id}`)"
    )


def _json(
    lineage: Lineage, not_asked: Mapping[str, str], withdrawn: tuple[WithdrawnSince, ...]
) -> str:
    content = {
        "verified": lineage.verified,
        "not_cross_checked": dict(not_asked),
        "withdrawn_since": [since.model_dump(mode="json") for since in withdrawn],
        **lineage.model_dump(mode="json"),
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
