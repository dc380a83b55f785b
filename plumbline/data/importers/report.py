"""What an import made of a file: every row is either accepted or rejected with a reason."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, NamedTuple, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from plumbline.errors import DataError
from plumbline.records import Record

Row = TypeVar("Row")
Item = TypeVar("Item", bound=Record)
EXAMPLES = 20


class Rejection(NamedTuple):
    """One row that was not accepted."""

    row: int
    """Number of the row in its file, from 1; in a CSV file the header does not count."""
    reason: str


class Rejected(ValueError):
    """Raised by a row parser; its text is the reason."""


class ImportReport(Record):
    """The counts of one import; rows_in = accepted + all rejected."""

    source: str = Field(description="name of the file")
    rows_in: int = Field(ge=0)
    accepted: int = Field(ge=0)
    rejected: dict[str, int] = Field(description="rows by reason; a row has one reason")
    examples: dict[str, tuple[int, ...]] = Field(description=f"row numbers by reason, the first {EXAMPLES} of each")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.rows_in != self.accepted + sum(self.rejected.values()):
            raise ValueError(f"{self.rows_in} rows came in, but {self.accepted} accepted and {self.rejected} rejected do not add up to them")
        return self


@dataclass(frozen=True)
class Imported(Generic[Item]):
    """The accepted rows of one file, the rejections in full, and the report."""

    items: tuple[Item, ...]
    rejections: tuple[Rejection, ...]
    report: ImportReport


class Attribution(Record):
    """What a public file does not say about itself and a person has to: for whom, with which permission and under which rubric it is used."""

    rubric: str = Field(description="label of the rubric under which the judgments are taken, `name@version`")
    consent_version: str = Field(default="public-dataset", description="version of the consent text, for public data its licence")
    approved_by: str = Field(default="unapproved", description="who approved the use of the file")
    time: datetime = Field(default=datetime(2000, 1, 1, tzinfo=UTC), description="time of judgments that carry none")


def import_rows(path: Path, rows: Iterable[tuple[int, Row]], parse: Callable[[Row], Item], limit: int | None = None) -> Imported[Item]:
    """Parse the first `limit` rows of a file (all by default); `parse` returns an item or raises `Rejected` with the reason.

    Ids are made from content, so an item with the id of an earlier one repeats that row and is rejected as `repeats an earlier row`.
    """
    items: list[Item] = []
    seen: set[str] = set()
    rejections: list[Rejection] = []
    for count, (number, row) in enumerate(rows):
        if count == limit:
            break
        try:
            item = parse(row)
            identity = _identity(item)
            if identity in seen:
                raise Rejected("repeats an earlier row")
            seen.add(identity)
            items.append(item)
        except Rejected as rejected:
            rejections.append(Rejection(number, str(rejected)))
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            rejections.append(Rejection(number, f"invalid {field or 'row'}"))
    reasons = Counter(rejection.reason for rejection in rejections)
    report = ImportReport(
        source=path.name,
        rows_in=len(items) + len(rejections),
        accepted=len(items),
        rejected=dict(sorted(reasons.items())),
        examples={reason: tuple(r.row for r in rejections if r.reason == reason)[:EXAMPLES] for reason in sorted(reasons)},
    )
    return Imported(tuple(items), tuple(rejections), report)


def _identity(item: Record) -> str:
    return str(item.id) if hasattr(item, "id") else item.digest()


def require_file(path: Path) -> Path:
    """The path, if it is a file.

    Raises:
        DataError: If there is no such file; says where the data is expected.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; PLUMBLINE_DATA must name the folder that holds the data of this profile")
    return path
