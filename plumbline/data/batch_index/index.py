"""A batch of accepted events and its narrow index: what the build of preference data has to know
about each vote, without the text.

The index is made once, while the batch is written, so that a new batch costs what the batch costs;
`plumbline.data.preferences.vote_table` reads it. It has one row for each event and judged pair of
responses: a comparison one, a ranking of K responses K(K-1)/2, a verdict one.
"""

import itertools
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, get_args

import pyarrow
import pyarrow as pa
import pyarrow.parquet as pq

from plumbline.data.batch_index.spans import event_spans
from plumbline.data.decontamination.near_duplicates import Document, scheme, sketch, sketch_width
from plumbline.data.splits import judged_pair, pair_id, prompt_key
from plumbline.errors import InvalidFeedback
from plumbline.profile.data import NearDuplicateConfig
from plumbline.schema.feedback import Comparison, Dimension, FeedbackEvent, Ranking, ResponseLabel
from plumbline.schema.kinds import ACCEPTED_FILE
from plumbline.storage.jsonl import parse_record, read_lines

INDEX = "index.parquet"
SKETCHES = "sketches.bin"
VERSION = "1"
"""Layout of the index; an index of another version is made again."""
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
KINDS = ("comparison", "ranking", "verdict")
_EVENT_ID = re.compile(r"[0-9a-f]{40}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK = 4096
"""Rows that are held before they are sketched and written."""


class BatchIndex(NamedTuple):
    """What was written."""

    events: int
    rows: int
    """Rows of the index: judged pairs and verdicts."""
    annotators: int


class IndexedVote(NamedTuple):
    """One judged pair of an event; the left response is the one whose text sorts first."""

    left: int
    right: int | None
    """Index of the other response; None for a verdict."""
    winner: int | None
    """0 left (or desirable), 1 right (or not desirable), None a tie."""
    places: int
    """Places between the two in a ranking; 0 otherwise."""


def judged_pairs(event: FeedbackEvent) -> list[IndexedVote]:
    """The pairs that an event judges, in the order of its responses."""
    judgment = event.judgment
    if isinstance(judgment, ResponseLabel):
        return [IndexedVote(0, None, 0 if judgment.desirable else 1, 0)]
    place = (
        {index: number for number, group in enumerate(judgment.order) for index in group}
        if isinstance(judgment, Ranking)
        else {index: 0 if judgment.preferred in (None, index) else 1 for index in (0, 1)}
    )
    pairs = []
    for a, b in itertools.combinations(range(len(event.responses)), 2):
        left, right = (a, b) if event.responses[a].text <= event.responses[b].text else (b, a)
        distance = place[right] - place[left]
        winner = None if distance == 0 else int(distance < 0)
        pairs.append(
            IndexedVote(left, right, winner, abs(distance) if isinstance(judgment, Ranking) else 0)
        )
    return pairs


def index_schema() -> pyarrow.Schema:
    """Columns of the index; times are microseconds since 1970 (UTC), places in the line bytes,
    ratings the score of left minus that of right."""
    name = pa.dictionary(pa.int32(), pa.string())
    key20, key32 = pa.binary(20), pa.binary(32)
    fields: list[tuple[str, Any]] = [
        *((column, key20) for column in ("event", "pair", "redacted_from")),
        *((column, key32) for column in ("judged", "prompt")),
        *(
            (column, name)
            for column in (
                "annotator",
                "rubric",
                "slice",
                "clause",
                "attack",
                "consent_version",
                "given_by",
            )
        ),
        *((column, pa.int64()) for column in ("offset", "time", "expires")),
        *(
            (column, pa.uint32())
            for column in ("length", *_PLACES, "left_characters", "right_characters")
        ),
        *((column, pa.uint8()) for column in ("kind", "strength", "places", "share")),
        *((column, pa.int8()) for column in ("winner", *DIMENSIONS)),
        *(
            (column, pa.bool_())
            for column in ("first", "synthetic", "empty_response", "same_response")
        ),
        ("fingerprint", pa.uint64()),
    ]
    return pa.schema([pa.field(column, kind) for column, kind in fields])


_PLACES = (
    "prompt_at",
    "prompt_to",
    "context_at",
    "context_to",
    "left_at",
    "left_to",
    "right_at",
    "right_to",
)


def write_batch(
    folder: Path, events: Iterable[FeedbackEvent], rule: NearDuplicateConfig
) -> BatchIndex:
    """Write the accepted events of a batch and their index in one pass, in bounded memory.

    Args:
        folder: Gets accepted.jsonl (canonical JSON, in the order given), index.parquet and
            sketches.bin (the near-duplicate sketch of each row).
        events: The events; each is one vote, however often it comes.
        rule: Its shingles decide on the sketches; under another rule they are made again when the
            index is read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ACCEPTED_FILE).open("wb") as accepted, _IndexWriter(folder, rule) as index:
        for event in events:
            line = event.to_json()
            index.add(event, line[:-1], accepted.tell())
            accepted.write(line)
    return index.summary()


class _IndexWriter:
    """Collects rows and writes them in chunks."""

    def __init__(self, folder: Path, rule: NearDuplicateConfig) -> None:
        self._rule = rule
        self._schema = index_schema().with_metadata(
            {"plumbline.index": VERSION, "sketch": scheme(rule), "width": str(sketch_width(rule))}
        )
        self._parquet = pq.ParquetWriter(
            folder / INDEX, self._schema, compression="zstd", write_page_checksum=True
        )
        self._sketches: BinaryIO = (folder / SKETCHES).open("wb")
        self._rows: list[tuple[Any, ...]] = []
        self._texts: list[tuple[list[str], list[str]]] = []
        self._events = 0
        self._written = 0
        self._annotators: set[str] = set()

    def __enter__(self) -> "_IndexWriter":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self._parquet.close()
            self._sketches.close()

    def summary(self) -> BatchIndex:
        return BatchIndex(self._events, self._written, len(self._annotators))

    def add(self, event: FeedbackEvent, line: bytes, offset: int) -> None:
        judged = judged_pairs(event)
        prompt = [message.content for message in event.prompt]
        for pair, row in zip(judged, _rows(event, judged, line, offset), strict=True):
            self._rows.append(row)
            self._texts.append((prompt, _sides(event, pair)))
        self._events += 1
        self._annotators.add(event.annotator)
        if len(self._rows) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        for start in range(0, len(self._rows), _CHUNK):  # one event can have many rows
            rows, texts = self._rows[start : start + _CHUNK], self._texts[start : start + _CHUNK]
            sketches = sketch([Document(prompt, shown) for prompt, shown in texts], self._rule)
            self._sketches.write(sketches.signatures.tobytes())
            columns = [*zip(*rows, strict=True), sketches.fingerprints]
            arrays = [
                pa.array(values, type=field.type)
                for values, field in zip(columns, self._schema, strict=True)
            ]
            self._parquet.write_batch(pa.record_batch(arrays, schema=self._schema))
            self._written += len(rows)
        self._rows, self._texts = [], []


def _rows(
    event: FeedbackEvent, judged: Sequence[IndexedVote], line: bytes, offset: int
) -> Iterator[tuple[Any, ...]]:
    """The values of `index_schema` for each judged pair of an event, but for the fingerprint."""
    spans = event_spans(line)
    stripped = [response.text.strip() for response in event.responses]
    scores = {(rating.response, rating.dimension): rating.score for rating in event.ratings}
    consent, context = event.consent, event.context
    # Only the id of an event can be replaced; a name that is none replaces nothing here.
    replaced = event.redacted_from
    redacted = bytes.fromhex(replaced) if replaced and _EVENT_ID.fullmatch(replaced) else None
    identity, key = bytes.fromhex(event.id), bytes.fromhex(prompt_key(event.prompt))
    expires = _microseconds(consent.expires) if consent.expires else None
    strength = event.judgment.strength if isinstance(event.judgment, Comparison) else 0
    share = max(1, sum(pair.winner is not None for pair in judged))
    for number, pair in enumerate(judged):
        shown = _sides(event, pair)
        right = (0, 0) if pair.right is None else spans.responses[pair.right]
        yield (
            identity,
            None if pair.winner is None else _decided_pair(event, shown, pair.winner),
            redacted,
            bytes.fromhex(judged_pair(event.prompt, shown)),
            key,
            *(event.annotator, event.rubric, context.slice, event.clause, event.attack),
            *(consent.version, consent.given_by),
            *(offset, _microseconds(event.time), expires, len(line)),
            *(*spans.prompt, *spans.context, *spans.responses[pair.left], *right),
            *(len(shown[0]), len(shown[1]) if len(shown) == 2 else 0),
            *(KINDS.index(event.judgment.kind), strength, pair.places, share, pair.winner),
            *(_difference(scores, pair, dimension) for dimension in DIMENSIONS),
            *(number == 0, event.synthetic),
            *(not all(stripped), len(set(stripped)) < len(stripped)),
        )


def _sides(event: FeedbackEvent, pair: IndexedVote) -> list[str]:
    """The texts that a vote compares, or the one that it judges."""
    sides = [pair.left] if pair.right is None else [pair.left, pair.right]
    return [event.responses[side].text for side in sides]


def _decided_pair(event: FeedbackEvent, shown: list[str], winner: int) -> bytes:
    """Id of the pair if this vote decides: the winner stands first."""
    in_order = shown if winner == 0 or len(shown) == 1 else shown[::-1]
    return bytes.fromhex(pair_id(event.prompt, in_order))


def _difference(
    scores: Mapping[tuple[int, Dimension], int], pair: IndexedVote, dimension: Dimension
) -> int | None:
    if not scores or pair.right is None:
        return None
    left, right = scores.get((pair.left, dimension)), scores.get((pair.right, dimension))
    return None if left is None or right is None else left - right


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


@contextmanager
def indexed(
    batches: Sequence[Path], rule: NearDuplicateConfig | None = None
) -> Iterator[list[Path]]:
    """For each batch the folder in which its index is: the batch itself, or a temporary one where
    the index is missing, older, or made under another rule.

    Args:
        batches: Folders with accepted.jsonl.
        rule: The rule whose sketches are wanted; None takes those that there are.
    """
    with tempfile.TemporaryDirectory(prefix="plumbline-index-") as temporary:
        folders = []
        for number, batch in enumerate(batches):
            stored_scheme = _scheme_of(batch)
            if stored_scheme is not None and (rule is None or stored_scheme == scheme(rule)):
                folders.append(batch)
                continue
            folder = Path(temporary, str(number))
            folder.mkdir()
            _index_again(
                batch / ACCEPTED_FILE,
                folder,
                rule or NearDuplicateConfig(shingle=5, threshold=0.7, action="report"),
            )
            folders.append(folder)
        yield folders


def _scheme_of(batch: Path) -> str | None:
    """How the sketches of a batch were made; None without an index of this version."""
    if not (batch / INDEX).is_file() or not (batch / SKETCHES).is_file():
        return None
    metadata = pq.read_schema(batch / INDEX).metadata or {}
    return (
        metadata[b"sketch"].decode()
        if metadata.get(b"plumbline.index") == VERSION.encode()
        else None
    )


def _index_again(accepted: Path, folder: Path, rule: NearDuplicateConfig) -> None:
    offset = 0
    with _IndexWriter(folder, rule) as index:
        for row, line in read_lines(accepted):
            try:
                index.add(parse_record(line, FeedbackEvent), line, offset)
            except (ValueError, InvalidFeedback) as error:
                raise InvalidFeedback(f"{accepted}: row {row}: {error}") from error
            offset += len(line) + 1
