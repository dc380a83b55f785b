"""Failure triage: what a failure leads to. A person sends it to the next dataset, the rubric or the
guardrail, and the ledger keeps who, where and why.

=============  ==================================  ==============================================
to             a failure on a held-out prompt      a red-team success
=============  ==================================  ==============================================
``dataset``    a request for new feedback of its   a task: people compare the response with the
               slice and locale                    one that should have been given
``rubric``     a proposal to revise the clause     the same
               that should have decided
``guardrail``  a request for verdicts of its       a labelled violation in the next fit
               slice and locale
=============  ==================================  ==============================================

Held-out prompts tune nothing, so a failure on one hands on no text. A red-team success is either a
test or a lesson: once it is sent to the dataset or the guardrail it leaves the regression suite
(see `plumbline.evaluation.vault.regression_suite`).
"""

from datetime import datetime
from typing import Final, Literal, NamedTuple

from pydantic import Field

from plumbline.data.adjudication.decisions import signed
from plumbline.data.adjudication.rubric_revisions import Proposals
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.tasks import Task, Tasks
from plumbline.errors import DataError
from plumbline.evaluation.failure_cases import FailureCase
from plumbline.evaluation.red_team.attempts import Attempt
from plumbline.lineage.ledger import Ledger
from plumbline.records import Record, canonical_json
from plumbline.schema.conversations import Response, ResponseSource
from plumbline.schema.feedback import Context, Provenance
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.rubric import Rubric

KIND: Final = "route"
"""Kind of the ledger entry; its key is `<profile>/<case>/<to>`."""
SLICE: Final = "red-team"
"""Slice of the tasks that red-team successes become."""
Destination = Literal["dataset", "rubric", "guardrail"]


class FailureTriage(Record):
    """Where one failure was sent, by whom and why."""

    case: Identifier = Field(description="id of the failure case, or of the red-team attempt")
    kind: Literal["failure", "red-team"]
    to: Destination
    by: Text
    reason: Text
    detail: dict[str, str] = Field(
        description=(
            "what came of it: the task, the proposal and its clause, the attempt, or what is"
            " asked for"
        )
    )


class TriageDecision(NamedTuple):
    """What a person decided about one failure."""

    case: FailureCase | Attempt
    to: Destination
    by: str
    reason: str
    clause: str | None = None
    """Clause of the rubric, for `rubric` only."""
    response: str | None = None
    """What should have been answered, for a red-team success that goes to `dataset` only."""


def route(
    ledger: Ledger,
    store: FeedbackStore,
    profile: str,
    rubric: Rubric,
    decision: TriageDecision,
    now: datetime,
) -> FailureTriage:
    """Carry out a triage decision and record it; the same one again changes nothing.

    Raises:
        DataError: If name or reason are empty, the attempt is no success, something needed is
            missing or has no place, or somebody sent this failure there before for another reason.
        ConfigError: If the rubric has no such clause.
    """
    signed_by, reason = signed(decision.by, decision.reason, f"the route of {decision.case.id}")
    _check(decision)
    key = f"{profile}/{decision.case.id}/{decision.to}"
    kind: Literal["failure", "red-team"] = (
        "red-team" if isinstance(decision.case, Attempt) else "failure"
    )
    entry = ledger.find(KIND, key)
    if entry is not None:
        before = FailureTriage.model_validate_json(canonical_json(entry.body))
        if (before.by, before.reason) != (signed_by, reason):
            raise DataError(
                f"{decision.case.id} was sent to the {decision.to} before by {before.by}:"
                f" {before.reason}; a recorded route does not change"
            )
        return before
    # what comes of it is the same however often it is done, so a crash before the entry is mended
    # by deciding the same again
    made = FailureTriage(
        case=decision.case.id,
        kind=kind,
        to=decision.to,
        by=signed_by,
        reason=reason,
        detail=_carry_out(store, rubric, decision, now),
    )
    ledger.append(KIND, key, made.model_dump(mode="json"))
    return made


def routes(ledger: Ledger, profile: str) -> tuple[FailureTriage, ...]:
    """Every route of a profile, in the order in which they were made."""
    return tuple(
        FailureTriage.model_validate_json(canonical_json(entry.body))
        for entry in ledger.entries(KIND)
        if entry.key.startswith(f"{profile}/")
    )


def attempts_used_in_training(ledger: Ledger, profile: str) -> frozenset[str]:
    """Ids of the red-team attempts that something learns from: they are no test any more."""
    return frozenset(
        triage.case
        for triage in routes(ledger, profile)
        if triage.kind == "red-team" and triage.to in ("dataset", "guardrail")
    )


def sent_to_guardrail(ledger: Ledger, profile: str) -> frozenset[str]:
    """Ids of the red-team attempts that the next fit of the guardrail takes in."""
    return frozenset(
        triage.case
        for triage in routes(ledger, profile)
        if triage.kind == "red-team" and triage.to == "guardrail"
    )


def _check(decision: TriageDecision) -> None:
    if isinstance(decision.case, Attempt) and not decision.case.success:
        raise DataError(
            f"attempt {decision.case.id} did not break the policy, so there is no failure to send"
            " anywhere"
        )
    needs_clause, needs_response = (
        decision.to == "rubric",
        decision.to == "dataset" and isinstance(decision.case, Attempt),
    )
    for given, needed, name, why in (
        (
            decision.clause,
            needs_clause,
            "clause",
            "names the clause of the rubric that should have decided",
        ),
        (
            decision.response,
            needs_response,
            "response",
            "is what should have been answered to a red-team success that becomes a task",
        ),
    ):
        if (given is not None and given.strip() != "") != needed:
            raise DataError(
                f"the route of {decision.case.id} to the {decision.to}: --{name} {why};"
                f" {'give it' if needed else 'leave it out here'}"
            )
    case, response = decision.case, decision.response
    if isinstance(case, Attempt) and response is not None and response.strip() == case.response:
        raise DataError(
            f"the route of {case.id} to the dataset: --response is the very answer that"
            " failed; give the one that should have been given"
        )


def _carry_out(
    store: FeedbackStore, rubric: Rubric, decision: TriageDecision, now: datetime
) -> dict[str, str]:
    case = decision.case
    if decision.to == "rubric":
        proposal = Proposals(store.database).open_for_case(
            rubric, str(decision.clause), case.id, now
        )
        return {
            "proposal": str(proposal.id),
            "clause": str(decision.clause),
            "rubric": rubric.label,
        }
    if isinstance(case, Attempt):
        if decision.to == "guardrail":
            return {"attempt": case.id}
        task = _task(case, str(decision.response), decision.by.strip())
        Tasks(store.database).add([task], now)
        return {"task": task.id}
    asked = "comparisons of new prompts" if decision.to == "dataset" else "verdicts on new prompts"
    return {
        "request": asked,
        "suite": case.suite,
        "slice": case.slice,
        "metric": case.metric,
        "expected": case.expected,
    }


def _task(attempt: Attempt, response: str, signed_by: str) -> Task:
    """The broken response beside the one that should have been given. It has no attack: with one,
    the judgment would go to the guardrail."""
    broken = ResponseSource(
        policy=attempt.policy, chat_template="unknown", role_format="unknown", decoder=None
    )
    meant = ResponseSource(
        policy="human", chat_template="unknown", role_format="unknown", decoder=None
    )
    return Task.create(
        prompt=attempt.prompt,
        responses=(
            Response(text=attempt.response, source=broken),
            Response(text=response.strip(), source=meant),
        ),
        context=Context(locale=attempt.locale, domain=attempt.domain or SLICE, slice=SLICE),
        provenance=Provenance(
            written_by=attempt.annotator, filtered_by=attempt.judged_by, approved_by=signed_by
        ),
    )
