"""The inbox: a folder whose feedback files are taken in, each once, and put away.

::

    inbox/<name>                   waits until it is complete
    inbox/<name>.ready             an empty file that says so at once
    inbox/done/<name>              taken in
    inbox/refused/<name>           not taken in, with <name>.reason.txt beside it
    inbox/.taken/                  the file that is being read

A file is complete when nobody wrote to it for the settle time, or when its marker is there. Writers
that pause should write under a name that begins with a dot, or put the marker last: a file that is
put away while its writer goes on loses what is written then.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock, Timeout

from plumbline.data.formats.import_report import shown
from plumbline.data.formats.reading import read_feedback
from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import SUFFIXES, IncompleteFile, file_digest
from plumbline.data.store.deliveries import Deliveries, Delivery
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.spool import ParsedUpload
from plumbline.errors import DataError
from plumbline.records import canonical_json

SETTLE_SECONDS: Final = 10.0
MARKER: Final = ".ready"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,199}")
_REASON: Final = ".reason.txt"
_PARTIAL: Final = (".part", ".partial", ".tmp", ".crdownload", "~")


class Collected(NamedTuple):
    """What one look into the inbox found."""

    deliveries: tuple[Delivery, ...]
    refused: dict[str, str]
    """Reasons of the files that were put into `refused/`, by name."""
    waiting: dict[str, str]
    """Why the other files wait, by name."""


def collect(
    folder: Path, store: FeedbackStore, now: datetime, settle_seconds: float = SETTLE_SECONDS
) -> Collected:
    """Take in the complete files of an inbox, in the order of their names; the folder is made if
    there is none.

    Files hold Plumbline's own events, of any kind in `plumbline.data.readers.rows.SUFFIXES`. A bad
    row is quarantined and the good ones are taken in; a file without a good row is refused. Only
    one collector works at a time; what one left behind when it was killed, the next one reads
    again, and the store takes each event in once.

    Args:
        folder: The inbox.
        store: The store that the events go to.
        now: The time of the deliveries, by which files are also judged to have settled.
        settle_seconds: For how long a file without a marker must not have been written to.
    """
    for part in (folder, folder / "done", folder / "refused", folder / ".taken"):
        part.mkdir(parents=True, exist_ok=True)
    collected = Collected((), {}, {})
    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(blocking=False):
            deliveries = tuple(_take_all(folder, Deliveries(store), now, settle_seconds, collected))
    except Timeout:
        return Collected((), {}, {".": "another collector is at work"})
    return collected._replace(deliveries=deliveries)


def erase_copies(folder: Path, event_ids: Collection[str], subject: str) -> tuple[str, ...]:
    """Remove the files in `done/` and `refused/` that hold one of the events or name the subject,
    also inside compression; returns their names.

    The other events of these files are in the store. A file that cannot be read to its end is
    removed too, since nobody can say what it holds.

    Args:
        folder: The inbox.
        event_ids: Ids of the events whose text is erased.
        subject: The person, event or version of a consent text that was withdrawn.
    """
    named = [canonical_json(text).rstrip(b"\n") for text in (subject, *event_ids)]
    removed = []
    for path in sorted(
        path
        for part in ("done", "refused")
        for path in (folder / part).glob("*")
        if path.is_file() and not path.is_symlink()
    ):
        if not path.name.endswith(_REASON) and _holds(path, named):
            path.unlink()
            path.with_name(path.name + _REASON).unlink(missing_ok=True)
            removed.append(f"{path.parent.name}/{path.name}")
    return tuple(removed)


def _holds(path: Path, named: Collection[bytes]) -> bool:
    try:
        return any(text in row.body for row in read_rows(path) for text in named)
    except DataError:
        return True


def _take_all(
    folder: Path, deliveries: Deliveries, now: datetime, settle_seconds: float, collected: Collected
) -> Iterator[Delivery]:
    for left in sorted((folder / ".taken").iterdir()):  # by a collector that was killed
        yield from _take(folder, left.name, deliveries, now, collected)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = entry.name
        if name.startswith(".") or name in ("done", "refused") or name.endswith(MARKER):
            continue
        marked = (folder / (name + MARKER)).is_file()
        if (problem := _trick(entry)) is not None:
            _refuse(folder, folder / name, problem, collected)
        elif name.lower().endswith(_PARTIAL):
            collected.waiting[name] = "its name says that it is still being written"
        elif not name.lower().endswith(SUFFIXES):
            _refuse(
                folder, folder / name, f"its name ends in none of {', '.join(SUFFIXES)}", collected
            )
        elif (
            not marked
            and abs(now.timestamp() - entry.stat(follow_symlinks=False).st_mtime) < settle_seconds
        ):
            collected.waiting[name] = f"was written to less than {settle_seconds:g} seconds ago"
        elif not marked and (problem := _unfinished(folder / name)) is not None:
            collected.waiting[name] = problem
        else:
            os.replace(folder / name, folder / ".taken" / name)
            yield from _take(folder, name, deliveries, now, collected)


def _take(
    folder: Path, name: str, deliveries: Deliveries, now: datetime, collected: Collected
) -> Iterator[Delivery]:
    path = folder / ".taken" / name
    if not stat.S_ISREG(path.lstat().st_mode):  # changed after it was looked at
        _refuse(folder, path, "is not a plain file", collected)
        return
    try:
        digest = file_digest(path)
        with ParsedUpload(name, "inbox", read_feedback(read_rows(path), "jsonl"), digest) as upload:
            if not upload.report.accepted:
                reasons = "; ".join(
                    f"{count} rows: {reason}" for reason, count in upload.report.rejected.items()
                )
                raise DataError(
                    f"{name}: no row is a feedback event ({reasons or 'it holds no row'})"
                )
            if file_digest(path) != digest:
                raise DataError(
                    f"{name}: changed while it was read; put it in again when it is complete"
                )
            (delivery,) = deliveries.deliver_uploads([upload], now)
    except DataError as error:
        _refuse(folder, path, str(error).replace(str(path), name), collected)
        return
    _put_away(path, folder / "done")
    (folder / (name + MARKER)).unlink(missing_ok=True)
    yield delivery


def _unfinished(path: Path) -> str | None:
    """Why a file looks half-written, found without parsing it whole where its end tells."""
    try:
        if path.stat().st_size == 0:
            return "is empty"
        if path.name.lower().endswith(".jsonl"):
            with path.open("rb") as stream:
                stream.seek(-1, os.SEEK_END)
                return (
                    None
                    if stream.read(1) == b"\n"
                    else "the last line does not end with a line feed, so it looks half-written"
                )
        for _ in read_rows(path):
            pass
    except IncompleteFile as error:
        return str(error).replace(f"{path}: ", "")
    except DataError:
        return None  # complete or not, it is refused with this error when it is read
    return None


def _trick(entry: os.DirEntry[str]) -> str | None:
    """Why an entry is not to be touched, whatever it holds."""
    if entry.is_symlink():
        return "is a link; put the file itself into the inbox"
    if not entry.is_file(follow_symlinks=False):
        return "is not a plain file"
    if entry.stat(follow_symlinks=False).st_nlink > 1:
        return "has a second name elsewhere (a hard link); put a copy into the inbox"
    if _NAME.fullmatch(entry.name) is None:
        return (
            "its name has other letters than A-Z, a-z, 0-9, dot, underscore, hyphen and space, or"
            " is too long"
        )
    return None


def _refuse(folder: Path, path: Path, reason: str, collected: Collected) -> None:
    safe = (
        path.name
        if _NAME.fullmatch(path.name)
        else "unnamed-" + "".join(re.findall(r"[A-Za-z0-9_-]", path.name))[:100]
    )
    target = _put_away(path, folder / "refused", safe)
    target.with_name(target.name + _REASON).write_text(f"{reason}\n", encoding="utf-8")
    (folder / (path.name + MARKER)).unlink(missing_ok=True)
    collected.refused[shown(path.name)] = reason


def _put_away(path: Path, folder: Path, name: str | None = None) -> Path:
    """Move an entry into a folder, under a number of its own where its name is taken there."""
    target = folder / (name or path.name)
    number = 1
    while os.path.lexists(target):
        number += 1
        target = folder / f"{number}-{name or path.name}"
    os.replace(path, target)  # also a folder; a link is moved, not followed
    return target
