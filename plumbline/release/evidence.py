"""The evidence that a release decision rests on: read, verified and judged by the gates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline.evaluation.judges.reliability import required_judges
from plumbline.lineage.consistency import CHAMPION_ROLE
from plumbline.profile.profile import Profile
from plumbline.release.candidate import own_ancestors
from plumbline.release.clauses import uncovered_clauses
from plumbline.release.decision import Decision, decide
from plumbline.schema.checks import CHECKS_FILE, EVAL_CHECKS, CheckReport, CheckVerdict
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.kinds import DECISION_FILE, REPORT_FILE, RUBRIC_FILE
from plumbline.schema.rubric import Rubric
from plumbline.storage.artifacts import ArtifactStore


@dataclass(frozen=True)
class Evidence:
    """What a decision reads; every folder was verified by digest before."""

    recipe: str
    evals: Path
    beside: Sequence[Path]
    """Folders of the guardrail and the judges, where the profile has them."""
    rubric: Path
    inputs: Mapping[str, str]
    """Digests of what is decided on, by role."""


def decide_candidate(evidence: Evidence, profile: Profile, folder: Path) -> Decision:
    """Apply the gates of the profile and the named checks, and write the decision to a folder."""
    report = EvalReport.from_json((evidence.evals / REPORT_FILE).read_bytes())
    rubric = Rubric.from_json((evidence.rubric / RUBRIC_FILE).read_bytes())
    named = [check for at in (evidence.evals, *evidence.beside) for check in _checks_in(at)]
    decision = decide(
        profile.gates,
        report,
        [*named, uncovered_clauses(rubric, profile.gates)],
        recipe=evidence.recipe,
        profile=profile.digest(),
        inputs=dict(evidence.inputs),
        required=required_checks(profile),
    )
    (folder / DECISION_FILE).write_bytes(decision.to_json())
    return decision


def _checks_in(folder: Path) -> tuple[CheckVerdict, ...]:
    """The verdicts as they were recorded beside their evidence."""
    return CheckReport.from_json((folder / CHECKS_FILE).read_bytes()).checks


def required_checks(profile: Profile) -> frozenset[str]:
    """Names of the checks that a decision under a profile cannot do without."""
    return frozenset(
        {
            *EVAL_CHECKS,
            "clauses",
            *(["guardrail"] if profile.guardrail else []),
            *(required_judges(profile.judges) if profile.judges else []),
        }
    )


def verify_ancestors(store: ArtifactStore, digests: Iterable[str]) -> int:
    """Re-hash every ancestor, and the champion that the candidate is compared with; returns how
    many. A changed byte raises: no decision is made on it."""
    seen = {digest for parent in digests for digest in own_ancestors(store, parent)}
    # What the champion was made from may have been erased since, which is no reason against its
    # successor.
    champions = {store.open(digest)[1].parents.get(CHAMPION_ROLE) for digest in sorted(seen)}
    named = sorted(champion for champion in champions if champion)
    for champion in named:
        store.open(champion)
    return len(seen) + len(named)
