"""What descends from given feedback events: the forward walk through the artifact store.

A batch hands its events on only to data that name them, and data hand on only the events in the
files that models train on. Everything that descends from such data is tainted. Nothing here
unlearns: weights that saw an event keep what they learned from it.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from plumbline.errors import ArtifactError
from plumbline.lineage.tombstones import read_erased
from plumbline.records import Record
from plumbline.schema.kinds import (
    ACCEPTED_FILE,
    ADJUDICATED_FILE,
    ADJUDICATION_QUEUE_FILE,
    ALIGNED_POLICY,
    CONTAMINATION_FILE,
    DEMONSTRATIONS,
    FEEDBACK_BATCH,
    GUARDRAIL_FILE,
    NEAR_DUPLICATES_FILE,
    PREFERENCE_DATA,
    QUARANTINED_FILE,
    REFERENCE_POLICY,
    REWARD_MODEL,
    SET_ASIDE_FILE,
)
from plumbline.storage.artifacts import Artifact, ArtifactStore

Action = Literal["rebuild", "retrain", "retire", "repeat"]
"""What to do with a tainted artifact.

rebuild: make the batch or dataset again without the events; retrain: train the model again on
rebuilt data; retire: a released policy, or the release itself, which cannot unlearn; repeat:
samples, evals and decisions about a tainted model.
"""
ACTIONS: Mapping[str, Action] = {
    **dict.fromkeys((FEEDBACK_BATCH, PREFERENCE_DATA, DEMONSTRATIONS), "rebuild"),
    **dict.fromkeys((REFERENCE_POLICY, REWARD_MODEL, ALIGNED_POLICY, "guardrail"), "retrain"),
    "release": "retire",
}
NOT_TRAINED_ON = frozenset(
    {
        SET_ASIDE_FILE,
        ADJUDICATION_QUEUE_FILE,
        ADJUDICATED_FILE,
        NEAR_DUPLICATES_FILE,
        CONTAMINATION_FILE,
        GUARDRAIL_FILE,
        QUARANTINED_FILE,
    }
)
"""Files of a dataset or batch that say what became of an event, and that no policy or reward model
reads. The guardrail learns from `guardrail.jsonl`; it names the events that it learned from in its
own rows.
"""
_ID = re.compile(rb'"([0-9a-f]{40})"')
"""A whole JSON string that can be an event's id; inside a text its quotes would be escaped."""
_EVENT = re.compile(rb'"id":"([0-9a-f]{40})"')
_REDACTED = re.compile(rb'"redacted_from":"([0-9a-f]{40})"')


class Descendant(Record):
    """One artifact that descends from the events."""

    artifact: str = Field(description="artifact digest")
    kind: str
    action: Action
    released: bool = Field(
        description=(
            "true for a policy that a release names: it cannot unlearn and has to be retired"
        )
    )
    events: int = Field(
        ge=0,
        description=(
            "how many of the events its own files name; 0 when it is tainted by its ancestors only"
        ),
    )


class Descendants(Record):
    """Everything in one artifact store that descends from the events."""

    events: tuple[str, ...] = Field(
        description="ids that were asked for, and those of their redacted forms"
    )
    tainted: tuple[Descendant, ...] = Field(description="ancestors before descendants")
    unread: tuple[str, ...] = Field(
        description="sentences about what could not be read, so that nothing can be said about it"
    )


def descendants_of(store: ArtifactStore, event_ids: Collection[str]) -> Descendants:
    """Walk from feedback events to every artifact that descends from them.

    Args:
        store: The artifact store; it is only read.
        event_ids: Ids of events; the redacted forms of these events are followed as well.
    """
    unread: list[str] = []
    manifests = dict(_manifests(store, unread))
    wanted = _with_redacted_forms(store.root, manifests, frozenset(event_ids))
    named: dict[str, dict[str, frozenset[str]]] = {}
    for artifact in manifests.values():
        if artifact.tree not in named:
            named[artifact.tree] = _named(store.root, artifact, wanted, unread)
    held = {
        digest: frozenset[str]().union(*named[artifact.tree].values())
        for digest, artifact in manifests.items()
    }
    tainted = _spread(manifests, {digest for digest, ids in held.items() if ids}, named)
    released = {
        parent
        for artifact in manifests.values()
        if artifact.kind == "release"
        for parent in artifact.parents.values()
    }
    rows = [
        _tainted(digest, manifests[digest], len(held[digest]), digest in released)
        for digest in _ancestors_first(manifests)
        if digest in tainted
    ]
    return Descendants(events=tuple(sorted(wanted)), tainted=tuple(rows), unread=tuple(unread))


def named_ids(path: Path) -> Iterator[bytes]:
    """Every JSON string of a file that can be an event's id, in the file's order; rows are read one
    at a time."""
    with path.open("rb") as stream:
        for line in stream:
            yield from _ID.findall(line)


def redacted_forms(path: Path) -> dict[str, set[str]]:
    """Ids of the accepted events of a batch that replace another event, by the id of that one."""
    replaced: dict[str, set[str]] = {}
    with path.open("rb") as stream:
        for line in stream:
            for original in _REDACTED.findall(line):
                replaced.setdefault(original.decode(), set()).update(
                    event_id.decode() for event_id in _EVENT.findall(line)
                )
    return replaced


def _tainted(digest: str, artifact: Artifact, events: int, released: bool) -> Descendant:
    action = ACTIONS.get(artifact.kind, "repeat")
    gone = released and action == "retrain"
    return Descendant(
        artifact=digest,
        kind=artifact.kind,
        action="retire" if gone else action,
        released=gone,
        events=events,
    )


def _manifests(store: ArtifactStore, unread: list[str]) -> Iterator[tuple[str, Artifact]]:
    for digest in store.manifests():
        try:
            yield digest, store.manifest(digest)
        except ArtifactError as error:
            unread.append(f"{error} What descends from it is not followed.")


def _with_redacted_forms(
    root: Path, manifests: Mapping[str, Artifact], event_ids: frozenset[str]
) -> frozenset[str]:
    """The ids, and those of accepted events that replace one of them; a replacement can itself have
    been replaced."""
    replaced: dict[str, set[str]] = {}
    for artifact in manifests.values():
        if artifact.kind != FEEDBACK_BATCH:
            continue
        path = _folder(root, artifact) / ACCEPTED_FILE
        erased = None if path.is_file() else read_erased(root, artifact.tree)
        forms: Mapping[str, Collection[str]] = (
            redacted_forms(path) if path.is_file() else {} if erased is None else erased.redacted
        )
        for original, replacing in forms.items():
            replaced.setdefault(original, set()).update(replacing)
    ids = set(event_ids)
    queue = list(event_ids)
    for identifier in queue:  # grows while it is read
        new = replaced.get(identifier, set()) - ids
        ids |= new
        queue += new
    return frozenset(ids)


def _named(
    root: Path, artifact: Artifact, wanted: frozenset[str], unread: list[str]
) -> dict[str, frozenset[str]]:
    """Which of the ids each file of an artifact names, from the files or from what an erasure left
    of them."""
    rows = [name for name in artifact.files if name.endswith(".jsonl")]
    folder = _folder(root, artifact)
    if rows and not folder.is_dir():
        erased = read_erased(root, artifact.tree)
        if erased is None:
            unread.append(
                f"{folder}: the files of {artifact.kind} are missing; whether it holds one of the"
                " events cannot be said. Restore the store from a copy."
            )
            return {}
        return {name: wanted & frozenset(ids) for name, ids in erased.cited.items()}
    known = {identifier.encode() for identifier in wanted}
    named = {}
    for name in rows:
        if not (folder / name).is_file():
            unread.append(
                f"{folder / name}: is missing; whether it names one of the events cannot be said."
                " Restore the store from a copy."
            )
            continue
        named[name] = frozenset(
            identifier.decode() for identifier in named_ids(folder / name) if identifier in known
        )
    return named


def _spread(
    manifests: Mapping[str, Artifact],
    holding: set[str],
    named: Mapping[str, Mapping[str, frozenset[str]]],
) -> set[str]:
    """The holding artifacts and every descendant that an event reaches."""
    children: dict[str, list[str]] = {}
    for digest, artifact in manifests.items():
        for parent in artifact.parents.values():
            children.setdefault(parent, []).append(digest)
    # A batch hands on nothing by itself, for data made from it need not hold its events; neither do
    # data that only say why an event is set aside.
    tainted = set(holding)
    queue = [
        digest
        for digest in holding
        if manifests[digest].kind != FEEDBACK_BATCH
        and any(
            ids and name not in NOT_TRAINED_ON
            for name, ids in named[manifests[digest].tree].items()
        )
    ]
    reached = set(queue)
    for digest in queue:  # grows while it is read
        for child in children.get(digest, []):
            tainted.add(child)
            if child not in reached:
                reached.add(child)
                queue.append(child)
    return tainted


def _ancestors_first(manifests: Mapping[str, Artifact]) -> list[str]:
    order: dict[str, None] = {}
    stack = sorted(manifests, reverse=True)
    while stack:
        digest = stack[-1]
        waiting = [
            parent
            for parent in sorted(manifests[digest].parents.values())
            if parent in manifests and parent not in order
        ]
        if waiting and digest not in order:
            stack += waiting
            continue
        order[stack.pop()] = None
    return list(order)


def _folder(root: Path, artifact: Artifact) -> Path:
    return root / "trees" / artifact.tree.removeprefix("sha256:")
