"""What an import made of a file: every row is either accepted or rejected with a reason."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, NamedTuple, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from plumbline.data.readers.rows import ParsedRow, RejectedRow, Row, bad_row
from plumbline.errors import DataError
from plumbline.records import Record

Item = TypeVar("Item", bound=Record)
EXAMPLES = 20
MAX_REASON = 256
"""Characters of a reason."""


class Rejection(NamedTuple):
    """One row that was not accepted."""

    row: int
    """Number of the row in its file, from 1; in a CSV file the header does not count."""
    reason: str


class Rejected(ValueError):
    """Raised by a row parser; its text is the reason."""


class ImportedRow(NamedTuple, Generic[Item]):
    """A record with its place in the file."""

    row: int
    """Number of the row in its file, from 1."""
    offset: int
    """First byte of the row in the file, after decompression."""
    length: int
    """Bytes of the row."""
    item: Item


class ImportReport(Record):
    """The counts of one import; rows_in = accepted + all rejected."""

    source: str = Field(description="name of the file")
    rows_in: int = Field(ge=0)
    accepted: int = Field(ge=0)
    rejected: dict[str, int] = Field(description="rows by reason; a row has one reason")
    examples: dict[str, tuple[int, ...]] = Field(
        description=f"row numbers by reason, the first {EXAMPLES} of each"
    )

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.rows_in != self.accepted + sum(self.rejected.values()):
            raise ValueError(
                f"{self.rows_in} rows came in, but {self.accepted} accepted and {self.rejected}"
                " rejected do not add up to them"
            )
        return self


@dataclass(frozen=True)
class Imported(Generic[Item]):
    """The accepted rows of one file, the rejections in full, and the report."""

    items: tuple[Item, ...]
    rejections: tuple[Rejection, ...]
    report: ImportReport


class Attribution(Record):
    """What a public file does not say about itself and a person has to: for whom, with which
    permission and under which rubric it is used."""

    rubric: str = Field(
        description="label of the rubric under which the judgments are taken, `name@version`"
    )
    consent_version: str = Field(
        default="public-dataset",
        description="version of the consent text, for public data its licence",
    )
    approved_by: str = Field(default="unapproved", description="who approved the use of the file")
    time: datetime = Field(
        default=datetime(2000, 1, 1, tzinfo=UTC), description="time of judgments that carry none"
    )
    synthetic: bool = Field(default=False, description="whether a model judged, and no human")


class Tally:
    """Counts rows while they pass."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self._examples: dict[str, list[int]] = {}

    def accept(self) -> None:
        """Count a row that was accepted."""
        self.accepted += 1

    def reject(self, row: int, reason: str) -> None:
        """Count a row that was not."""
        self.rejected[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(row)

    def report(self, source: str) -> ImportReport:
        """The counts so far."""
        return ImportReport(
            source=source,
            rows_in=self.accepted + self.rejected.total(),
            accepted=self.accepted,
            rejected=dict(sorted(self.rejected.items())),
            examples={reason: tuple(rows) for reason, rows in sorted(self._examples.items())},
        )


def parse_rows(
    rows: Iterable[Row], parse: Callable[[ParsedRow], Item], limit: int | None = None
) -> Iterator[ImportedRow[Item] | RejectedRow]:
    """The first `limit` rows (all by default) as records; `parse` returns one or raises `Rejected`
    with the reason."""
    for count, row in enumerate(rows):
        if count == limit:
            return
        if isinstance(row, RejectedRow):
            yield row
            continue
        try:
            yield ImportedRow(row.number, row.offset, len(row.body), parse(row))
        except Rejected as rejected:
            yield bad_row(row.number, row.offset, row.body, shown(str(rejected)))
        except ValidationError as error:
            yield bad_row(row.number, row.offset, row.body, invalid(error))


def collect(source: str, arrivals: Iterable[ImportedRow[Item] | RejectedRow]) -> Imported[Item]:
    """All rows of one file.

    Ids are made from content, so an item with the id of an earlier one repeats that row and is
    rejected as `repeats an earlier row`.
    """
    items: list[Item] = []
    seen: set[str] = set()
    rejections: list[Rejection] = []
    tally = Tally()
    for arrival in arrivals:
        if isinstance(arrival, RejectedRow):
            rejections.append(Rejection(arrival.number, arrival.reason))
        elif (identity := _identity(arrival.item)) in seen:
            rejections.append(Rejection(arrival.row, "repeats an earlier row"))
        else:
            seen.add(identity)
            items.append(arrival.item)
            tally.accept()
            continue
        tally.reject(*rejections[-1])
    return Imported(tuple(items), tuple(rejections), tally.report(source))


def invalid(error: ValidationError) -> str:
    """The field that a validation met first, as a reason that can be counted."""
    return shown(f"invalid {'.'.join(str(part) for part in error.errors()[0]['loc']) or 'row'}")


def shown(text: str) -> str:
    """Text from outside on one line of at most `MAX_REASON` characters: what cannot be printed
    stands as an escape."""
    escaped = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text[:MAX_REASON]
    )
    return escaped[:MAX_REASON]


def _identity(item: Record) -> str:
    return str(item.id) if hasattr(item, "id") else item.digest()


def require_file(path: Path) -> Path:
    """The path, if it is a file.

    Raises:
        DataError: If there is no such file; says where the data is expected.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: there is no such file; PLUMBLINE_DATA must name the folder that holds the"
            " data of this profile"
        )
    return path
