"""`plumbline evaluate judge`: how reliable the judges are, and what a reliable one says about two
policies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.errors import ConfigError, JudgeRefused
from plumbline.evaluation.judges.llm_judge import JudgeReply, ask_all
from plumbline.evaluation.judges.outcomes import questions_about
from plumbline.evaluation.judges.policy_comparison import (
    PolicyPair,
    judged_policies,
    policy_pairs,
    wins_by_replies,
    wins_by_rewards,
)
from plumbline.evaluation.judges.reliability import (
    FILE,
    REPLIES,
    JudgeReliability,
    Reliabilities,
    reliability_check,
    require_reliable,
)
from plumbline.evaluation.refusals.labelled import read_completions
from plumbline.evaluation.refusals.report import measure_detector
from plumbline.evaluation.refusals.training import train_detector
from plumbline.evaluation.scoring import ScoredSample
from plumbline.evaluation.vault.opening import open_vault
from plumbline.lineage.ledger import Ledger
from plumbline.lineage.newest import newest_artifact
from plumbline.profile.profile import Profile
from plumbline.records import canonical_json
from plumbline.schema.kinds import EVAL_VAULT, HELD_OUT_EVALS, SCORED_FILE
from plumbline.storage.artifacts import ArtifactStore, write_atomically
from plumbline.storage.home import HomeLayout
from plumbline.storage.jsonl import read_records

app = typer.Typer(
    no_args_is_help=True,
    help="How reliable the judges are, and what a reliable one says about two policies.",
)

ComparingJudge = Literal["reward-model", "llm"]
JudgeOption = Annotated[ComparingJudge, typer.Option("--judge", help="Who compares.")]
RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Recipe of the aligned policy.", show_default="the candidate"),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help="Prompts to judge, from the first of the vault.",
        show_default="all",
    ),
]


@app.command()
def refusals(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help=(
                "Labelled completions in the layout of XSTest: completions_<model>.csv, three or"
                " more."
            ),
        ),
    ],
    level: Annotated[
        float,
        typer.Option("--level", min=0.5, max=0.999, help="Confidence level of the intervals."),
    ] = 0.95,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Also train on all of them, and write the detector to this file."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The measurements as JSON.")] = False,
) -> None:
    """Measure the refusal detector on models that it never saw, beside string matching and beside
    the annotators."""
    completions = read_completions(folder)
    report = measure_detector(completions, level)
    typer.echo(report.to_json() if as_json else report.to_markdown(), nl=not as_json)
    if output is not None:
        write_atomically(output, train_detector(completions).to_json())
        typer.echo(f"wrote {output}", err=True)


@app.command()
def reliability(
    as_json: Annotated[bool, typer.Option("--json", help="The measurements as JSON.")] = False,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """How far each judge of the profile agrees with people, and whether it may be heard."""
    layout = layout_of(home, profile)
    own = profile_of(layout)
    judges = _measured(layout, own)
    if as_json:
        typer.echo(canonical_json([judge.model_dump(mode="json") for judge in judges]), nl=False)
        return
    assert own.judges is not None, "_measured requires the rule"
    for judge in judges:
        verdict = reliability_check(judge, own.judges)
        typer.echo(
            f"{judge.to_markdown()}\n\n{verdict.name}: {verdict.verdict}: {verdict.explanation}"
        )
        typer.echo(f"{verdict.remedy}\n" if verdict.remedy else "")


@app.command()
def compare(
    judge: JudgeOption = "reward-model",
    recipe: RecipeOption = None,
    limit: LimitOption = None,
    by: Annotated[
        str, typer.Option("--by", help="Who looks; it is recorded that the vault was opened.")
    ] = "plumbline-judge",
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Win rate of the aligned policy over the reference by a judge that is reliable enough; another
    judge is refused.

    A language model is shown the held-out prompts: they leave this machine unless its endpoint is
    here.
    """
    layout = layout_of(home, profile)
    own = profile_of(layout)
    measured = next(
        (measurement for measurement in _measured(layout, own) if measurement.judge == judge), None
    )
    if measured is None or own.judges is None:
        raise JudgeRefused(
            f"nobody measured judge '{judge}'; name it in `judges` of the profile and materialize"
            " judges"
        )
    require_reliable(measured, own.judges)
    store = ArtifactStore(layout.store)
    digest, _ = newest_artifact(store, HELD_OUT_EVALS, own.digest(), recipe or own.candidate)
    folder, evals = store.open(digest, kind=HELD_OUT_EVALS)
    vault, _ = store.open(evals.parents[EVAL_VAULT], kind=EVAL_VAULT)
    prompts = open_vault(
        vault, Ledger(layout.ledger), purpose="inspection", by=by, policy=None, rule=own.vault
    )
    pairs = policy_pairs(prompts, list(read_records(folder / SCORED_FILE, ScoredSample)))[:limit]
    target = layout.profile_folder / "judged" / f"{digest.removeprefix('sha256:')[:16]}-{judge}"
    wins = (
        wins_by_rewards(pairs)
        if judge == "reward-model"
        else wins_by_replies(pairs, _ask(pairs, own, target / REPLIES))
    )
    comparison = judged_policies(
        judge,
        measured.identity,
        digest,
        pairs,
        wins,
        own.evaluation.level,
        cluster=own.vault.cluster,
    )
    write_atomically(target / "comparison.json", comparison.to_json())
    typer.echo(comparison.to_markdown())
    typer.echo(
        f"\n{len(pairs)} prompts, {comparison.identical} answered in the same words; written to"
        f" {target}"
    )


def _measured(layout: HomeLayout, profile: Profile) -> tuple[JudgeReliability, ...]:
    """What the newest `judges` of the profile found."""
    if profile.judges is None:
        raise ConfigError(
            f"profile '{profile.name}' names no judges beside its scorer; add `judges` to it"
        )
    store = ArtifactStore(layout.store)
    digest, _ = newest_artifact(store, "judges", profile.digest())
    folder, _ = store.open(digest, kind="judges")
    return Reliabilities.from_json((folder / FILE).read_bytes()).judges


def _ask(pairs: Sequence[PolicyPair], profile: Profile, replies: Path) -> list[JudgeReply]:
    """Replies about every pair; those that the file holds already are not asked for again, and all
    are kept there."""
    if profile.judges is None or profile.judges.llm is None:
        raise ConfigError(
            f"profile '{profile.name}' names no language model as judge; add judges.llm to it"
        )
    known = (
        {reply.request: reply for reply in read_records(replies, JudgeReply)}
        if replies.is_file()
        else {}
    )
    new = ask_all(
        questions_about([pair.judged() for pair in pairs if not pair.identical]),
        profile.judges.llm,
        known,
    )
    write_atomically(
        replies,
        b"".join(
            reply.to_json() for reply in (known | {reply.request: reply for reply in new}).values()
        ),
    )
    return new
