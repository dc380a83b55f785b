"""Erasure of withdrawn text: out of the feedback store, the artifact store and the DVC caches, with
its digests left behind.

Events keep their row and id, batches their digest, artifacts their manifest; what is erased from a
tree is recorded first (see `plumbline.lineage.tombstones`). An erasure that was interrupted is
finished by running it again. Weights that were trained on the text are not touched:
`plumbline.lineage.descendants` says which have to be retired.
"""

import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock
from pydantic import Field
from sqlalchemy import select

from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.data.store.batches import stored_event
from plumbline.data.store.database import Database, to_text
from plumbline.data.store.events import ERASED
from plumbline.lineage.descendants import descendants_of, named_ids, redacted_forms
from plumbline.lineage.tombstones import ErasedTree, write_erased
from plumbline.records import Record, canonical_json
from plumbline.schema.feedback import Withdrawal
from plumbline.schema.kinds import ACCEPTED_FILE, FEEDBACK_BATCH
from plumbline.storage.artifacts import Artifact, ArtifactStore

SHORTEST_TEXT = 24
"""Characters of the shortest text that is looked for afterwards; shorter ones stand everywhere."""
MOST_TEXTS = 200
"""Texts that are looked for afterwards, the longest first."""
WEIGHTS = frozenset({".safetensors", ".pt", ".bin"})
"""Files that hold numbers and no text."""
_ASIDE = "erased-"


class Erasure(Record):
    """What one erasure removed, and what it could not."""

    events: int = Field(
        ge=0,
        description=(
            "events of the withdrawal whose text is gone from the feedback store, earlier erasures"
            " included"
        ),
    )
    rows: int = Field(ge=0, description="quarantined rows whose bytes were removed")
    trees: tuple[str, ...] = Field(description="trees that were removed now")
    batches: tuple[str, ...] = Field(description="partitions of `feedback` to materialize again")
    objects: int = Field(
        ge=0, description="files removed from DVC caches, remotes and working folders"
    )
    left: tuple[str, ...] = Field(
        description=(
            "files and tasks that still hold one of the texts, because other events hold it too or"
            " because nothing here may change them"
        )
    )


def erase(
    withdrawal: Withdrawal, database: Database, home: Path, by: str, reason: str, now: datetime
) -> Erasure:
    """Erase the text of every event that a withdrawal concerns.

    Args:
        withdrawal: What was withdrawn; it is recorded in the database.
        database: Of the feedback store.
        home: Folder of everything that Plumbline writes: `store`, and `profiles/<profile>/dvc`.
        by: Who erases.
        reason: Why.
        now: The time to record.

    Raises:
        DataError: If another process keeps the database from being rewritten; everything else is
            done then.
    """
    ids = Withdrawals(database).events(withdrawal)
    texts = _texts(database, ids)
    store = ArtifactStore(home / "store")
    held = _held_trees(store, ids)
    kept = _kept_files(store, held)
    for aside in (store.root / "staging").glob(f"{_ASIDE}*"):
        shutil.rmtree(aside)  # an erasure was killed while it removed this tree
    objects = 0
    for artifact in held.values():
        _record(
            store,
            artifact,
            withdrawal=withdrawal,
            feedback=database.name,
            by=by,
            reason=reason,
            now=now,
        )
        folder = _folder(store, artifact.tree)
        md5s = {
            _md5(folder / name)
            for name, entry in artifact.files.items()
            if entry.digest not in kept
        }
        objects += sum(_erase_from_dvc(path, md5s) for path in sorted(home.glob("profiles/*/dvc")))
        _remove(store, artifact.tree)
    rows = _erase_from_database(database, withdrawal, ids, now)
    database.reclaim()
    batches = {
        str(artifact.facts.get("batch", ""))
        for artifact in held.values()
        if artifact.kind == FEEDBACK_BATCH
    }
    return Erasure(
        events=len(ids),
        rows=rows,
        trees=tuple(sorted(held)),
        batches=tuple(sorted(batches - {""})),
        objects=objects,
        left=tuple(_holding(home, database, texts)),
    )


def _held_trees(store: ArtifactStore, ids: Collection[str]) -> dict[str, Artifact]:
    """Artifacts that hold one of the events themselves and whose files are there, by tree."""
    rows = descendants_of(store, ids).tainted
    holding = [store.manifest(row.artifact) for row in rows if row.events]
    return {
        artifact.tree: artifact for artifact in holding if _folder(store, artifact.tree).is_dir()
    }


def _kept_files(store: ArtifactStore, held: Collection[str]) -> set[str]:
    """Digests of the files that stay: a dataset can share an untouched file with one that is
    erased."""
    manifests = (store.manifest(digest) for digest in store.manifests())
    return {
        entry.digest
        for artifact in manifests
        if artifact.tree not in held and _folder(store, artifact.tree).is_dir()
        for entry in artifact.files.values()
    }


def _record(
    store: ArtifactStore,
    artifact: Artifact,
    *,
    withdrawal: Withdrawal,
    feedback: str,
    by: str,
    reason: str,
    now: datetime,
) -> None:
    """Write down what a tree is, while it is whole."""
    folder = _folder(store, artifact.tree)
    store.verify_tree(artifact.tree, artifact.files)
    cited = {
        name: tuple(sorted({event_id.decode() for event_id in named_ids(folder / name)}))
        for name in artifact.files
        if name.endswith(".jsonl")
    }
    forms = redacted_forms(folder / ACCEPTED_FILE) if ACCEPTED_FILE in artifact.files else {}
    erased = ErasedTree(
        tree=artifact.tree,
        files=artifact.files,
        cited=cited,
        redacted={original: tuple(sorted(replacing)) for original, replacing in forms.items()},
        withdrawal=withdrawal.id,
        feedback=feedback,
        by=by,
        reason=reason,
        erased_at=now,
    )
    write_erased(store.root, erased)


def _remove(store: ArtifactStore, tree: str) -> None:
    """Take a tree out of the store at once, by a rename, and then remove its files."""
    aside = store.root / "staging" / f"{_ASIDE}{tree.removeprefix('sha256:')}"
    aside.parent.mkdir(exist_ok=True)
    os.rename(_folder(store, tree), aside)
    shutil.rmtree(aside)


def _erase_from_dvc(repository: Path, md5s: Collection[str]) -> int:
    """Remove files by their MD5 from the cache, the remote and the working folder of one DVC
    repository; returns how many."""
    if not (repository / ".dvc").is_dir() or not md5s:
        return 0
    removed = 0
    with FileLock(repository / ".dvc" / "plumbline.lock"):
        for root in (repository / ".dvc" / "cache", repository / "remote"):
            for md5 in md5s:
                path = root / "files" / "md5" / md5[:2] / md5[2:]
                if path.is_file():
                    path.unlink()
                    removed += 1
        for path in sorted((repository / "data").rglob("*")):
            if path.is_file() and _md5(path) in md5s:
                path.unlink()
                removed += 1
    return removed


def _erase_from_database(
    database: Database, withdrawal: Withdrawal, ids: Collection[str], now: datetime
) -> int:
    """Empty the bodies of the events and of the quarantined rows that belong to them or name the
    subject; returns how many such rows."""
    tables = database.tables
    name = canonical_json(withdrawal.subject).rstrip(b"\n")
    with database.writing() as connection:
        done = set(connection.execute(select(tables.erasures.c.event_id)).scalars())
        # An id that only an artifact names (a redacted form) has no row here.
        stored = [
            identifier
            for identifier in sorted(ids)
            if identifier not in done
            and connection.execute(
                select(tables.events.c.id).where(tables.events.c.id == identifier)
            ).first()
        ]
        for identifier in stored:
            connection.execute(
                tables.events.update().where(tables.events.c.id == identifier).values(body=ERASED)
            )
            connection.execute(
                tables.erasures.insert().values(
                    event_id=identifier, withdrawal_id=withdrawal.id, erased_at=to_text(now)
                )
            )
        kept = select(
            tables.quarantined_rows.c.id,
            tables.quarantined_rows.c.event_id,
            tables.quarantined_rows.c.body,
        )
        quarantined = connection.execute(kept, execution_options={"yield_per": 100})
        concerned = [
            row.id
            for row in quarantined
            if bytes(row.body) and (row.event_id in ids or name in bytes(row.body))
        ]
        for number in concerned:
            connection.execute(
                tables.quarantined_rows.update()
                .where(tables.quarantined_rows.c.id == number)
                .values(body=ERASED)
            )
    return len(concerned)


def _texts(database: Database, ids: Iterable[str]) -> list[str]:
    """The longer texts of the events, the longest first: what is looked for when everything was
    erased."""
    events = database.tables.events
    texts: set[str] = set()
    with database.reading() as connection:
        for identifier in ids:
            body = connection.execute(
                select(events.c.body).where(events.c.id == identifier)
            ).scalar()
            if body:
                event = stored_event(identifier, body)
                texts |= (
                    {message.content for message in event.prompt}
                    | {response.text for response in event.responses}
                    | {event.reason or ""}
                )
    return sorted(
        (text for text in texts if len(text) >= SHORTEST_TEXT), key=lambda text: (-len(text), text)
    )[:MOST_TEXTS]


def _holding(home: Path, database: Database, texts: Iterable[str]) -> Iterator[str]:
    """Files below a folder, and tasks in the database, that hold one of the texts as it is or as
    JSON writes it."""
    forms = {
        form
        for text in texts
        for form in (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])
    }
    needles = [form.encode() for form in sorted(forms)]
    if not needles:
        return
    tasks = database.tables.tasks
    with database.reading() as connection:
        for row in connection.execute(
            select(tasks.c.id, tasks.c.body), execution_options={"yield_per": 100}
        ):
            if any(needle in bytes(row.body) for needle in needles):
                yield f"{database.name}: task {row.id}"
    for path in sorted(home.rglob("*")):
        if (
            path.is_symlink()
            or not path.is_file()
            or path.suffix in WEIGHTS
            or path.stat().st_size == 0
        ):
            continue
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if any(content.find(needle) >= 0 for needle in needles):
                yield str(path)


def _folder(store: ArtifactStore, tree: str) -> Path:
    return store.root / "trees" / tree.removeprefix("sha256:")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
