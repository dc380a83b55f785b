"""What people decided where votes did not: the queue of disputed pairs, and decisions signed by
name with a reason."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator
from sqlalchemy import Connection, select

from plumbline.data.splits import judged_pair
from plumbline.data.store.database import Database, to_text
from plumbline.errors import DataError
from plumbline.records import Record, canonical_json, sha256
from plumbline.schema.conversations import Message
from plumbline.schema.identifiers import Digest, Identifier, Text
from plumbline.schema.rubric import Rubric

Choice = Literal["first", "second", "tie", "exclude"]
"""Which of the two responses is better, that neither is, or that the pair is not to be used at
all."""
LONGEST_NAME = 256


def item_key(prompt: Sequence[Message], responses: Iterable[str]) -> str:
    """Name of a prompt with two responses, whatever their order."""
    return f"sha256:{judged_pair(prompt, responses)}"


class VoteView(Record):
    """One vote on a disputed pair, as an adjudicator sees it."""

    event: Identifier
    annotator: Identifier
    preferred: Literal[0, 1] | None = Field(
        description="index of the better one among the responses of the item; null is a tie"
    )
    strength: Literal[0, 1, 2, 3] | None = Field(
        description="how much better; null for a vote from a ranking"
    )
    clause: Identifier | None = Field(
        description="the clause of the rubric that the annotator named"
    )
    reason: str | None
    rubric: Text = Field(description="rubric of the vote")


class QueueItem(Record):
    """A pair of responses that the votes do not decide: one row of adjudication_queue.jsonl."""

    item: Digest = Field(description="name of the pair (see `item_key`)")
    rubric: Text = Field(description="rubric that the pair is to be judged by, `name@version`")
    prompt: tuple[Message, ...] = Field(min_length=1)
    responses: tuple[str, str] = Field(
        description=(
            "both texts, sorted, so that nothing tells which came first or from which policy"
        )
    )
    votes: tuple[VoteView, ...] = Field(min_length=1)
    agreement: float = Field(
        ge=0.5, le=1, description="share of the weight of the votes for the majority"
    )
    clauses: tuple[Identifier, ...] = Field(description="clauses that the votes name, sorted")
    why: Literal["low agreement", "contradiction"]

    @model_validator(mode="after")
    def _names_its_content(self) -> Self:
        if self.responses[0] >= self.responses[1]:
            raise ValueError("the two responses must differ and be sorted")
        if self.item != item_key(self.prompt, self.responses):
            raise ValueError(
                f"item {self.item} is not the name of its prompt and responses, which is"
                f" {item_key(self.prompt, self.responses)}"
            )
        named = {vote.clause for vote in self.votes if vote.clause is not None}
        if list(self.clauses) != sorted(named):
            raise ValueError(
                f"clauses {list(self.clauses)} are not those that the votes name: {sorted(named)}"
            )
        return self


class Adjudication(Record):
    """One decision; a later one on the same item under the same rubric takes its place, and both
    are kept."""

    id: int
    item: Digest
    rubric: Text
    clause: Identifier = Field(description="the clause of the rubric that the decision rests on")
    decision: Choice
    chosen: Digest | None = Field(
        description="SHA-256 of the chosen text; null for a tie and for an exclusion"
    )
    by: Text
    reason: Text
    decided_at: AwareDatetime


class Adjudications:
    """The decisions in the database of the feedback store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        connection: Connection,
        *,
        item: str,
        rubric: str,
        clause: str,
        decision: Choice,
        chosen: str | None,
        by: str,
        reason: str,
        now: datetime,
    ) -> Adjudication:
        """Record a decision inside a transaction of `Database.writing`.

        Raises:
            DataError: If it is not signed by a name with a reason, or if the digest of the chosen
                text is missing or has no place.
        """
        by, reason = signed(by, reason, f"the decision on {item}")
        if (decision in ("first", "second")) != (chosen is not None):
            raise DataError(
                f"the decision on {item}: `{decision}`"
                f" {'needs the digest of the chosen text' if chosen is None else 'chooses no text'}"
            )
        fields = {
            "item": item,
            "rubric": rubric,
            "clause": clause,
            "decision": decision,
            "chosen": chosen,
            "by": by,
            "reason": reason,
        }
        try:  # checked before it is written: what cannot be read again must not be kept
            draft = Adjudication.model_validate({"id": 0, **fields, "decided_at": now})
        except ValidationError as error:
            problem = error.errors()[0]
            raise DataError(
                f"the decision on {item}: {'.'.join(str(part) for part in problem['loc'])}:"
                f" {problem['msg']}"
            ) from error
        table = self._database.tables.adjudications
        id = connection.execute(
            table.insert().values(**fields, decided_at=to_text(now)).returning(table.c.id)
        ).scalar_one()
        return draft.model_copy(update={"id": int(id)})

    def current(self, rubric: str) -> dict[str, Adjudication]:
        """The decision that holds for each item under a rubric."""
        return {
            adjudication.item: adjudication
            for adjudication in self.all()
            if adjudication.rubric == rubric
        }

    def all(self) -> tuple[Adjudication, ...]:
        """Every decision in the order in which they were made, with those that later ones
        replaced."""
        with self._database.reading() as connection:
            return self.read(connection)

    def read(self, connection: Connection) -> tuple[Adjudication, ...]:
        """The same inside a transaction."""
        table = self._database.tables.adjudications
        rows = connection.execute(select(table).order_by(table.c.id)).mappings()
        return tuple(
            Adjudication.model_validate(
                {**row, "decided_at": datetime.fromisoformat(row["decided_at"])}
            )
            for row in rows
        )


def signed(by: str, reason: str, what: str) -> tuple[str, str]:
    """Name and reason without white space around them.

    Raises:
        DataError: If one is empty, or the name is longer than 256 characters.
    """
    by, reason = by.strip(), reason.strip()
    if not by or not reason:
        raise DataError(
            f"{what}: needs the name of who decides and a reason; the"
            f" {'name' if not by else 'reason'} is empty"
        )
    if len(by) > LONGEST_NAME:
        raise DataError(
            f"{what}: the name has {len(by)} characters; at most {LONGEST_NAME} are kept"
        )
    return by, reason


def chosen_of(item: QueueItem, decision: Choice) -> str | None:
    """Digest of the text that a decision chooses; None for a tie and for an exclusion."""
    return (
        sha256(item.responses[("first", "second").index(decision)].encode())
        if decision in ("first", "second")
        else None
    )


def open_items(
    queue: Iterable[QueueItem], current: Mapping[str, Adjudication]
) -> tuple[QueueItem, ...]:
    """The items that nobody has decided under their rubric."""
    return tuple(
        item
        for item in queue
        if item.item not in current or current[item.item].rubric != item.rubric
    )


def read_queue(path: Path) -> tuple[QueueItem, ...]:
    """Read adjudication_queue.jsonl.

    Raises:
        DataError: If a row is not an item of the queue; names file and row.
    """
    items = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                items.append(QueueItem.from_json(line))
            except ValidationError as error:
                raise DataError(f"{path}: row {number}: {error.errors()[0]['msg']}") from error
    return tuple(items)


def by_the_order(item: QueueItem, rubric: Rubric) -> Literal[0, 1] | None:
    """The response that the order of the rubric's clauses prefers, going by the clauses that the
    votes name.

    A vote for one response that names a clause says that the other response breaks it. This is
    shown to adjudicators and decides nothing.
    """
    known = set(rubric.priorities)
    breaks: tuple[set[str], set[str]] = (set(), set())
    for vote in item.votes:
        if vote.preferred is not None and vote.clause in known:
            breaks[1 - vote.preferred].add(str(vote.clause))
    return rubric.prefer(*breaks)


def adjudications_digest(current: Mapping[str, Adjudication]) -> str:
    """Digest of what was decided: changes when a decision does, and not with who made it or
    when."""
    return sha256(
        canonical_json(
            sorted(
                [decision.item, decision.decision, decision.chosen] for decision in current.values()
            )
        )
    )
