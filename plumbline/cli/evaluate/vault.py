"""`plumbline evaluate vault`: what the eval vault holds, who opened it, how far it is used up, and
a person's own look into it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.errors import ArtifactNotFound, ConfigError
from plumbline.evaluation.vault.opening import Use, open_vault, openings, suite_use
from plumbline.evaluation.vault.suites import OVERLAPS, VaultContents, read_contents
from plumbline.lineage.ledger import Ledger
from plumbline.lineage.materializations import materialization_files
from plumbline.records import short
from plumbline.schema.kinds import EVAL_VAULT
from plumbline.storage.artifacts import Artifact, ArtifactStore
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import escaped, printable

app = typer.Typer(
    no_args_is_help=True, help="The eval vault: suites, slices, openings, overlaps and pins."
)
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, with full digests.")]
WIDTH = 118


@app.command()
def show(
    home: HomeOption = None, profile: ProfileOption = None, as_json: JsonOption = False
) -> None:
    """Suites and slices of the newest vault, and how many policies each suite may still judge; no
    prompt is read."""
    layout = layout_of(home, profile)
    _, _, contents = newest_vault(layout)
    opened, rule = openings(Ledger(layout.ledger), layout.profile), profile_of(layout).vault
    uses = {
        name: suite_use(name, rule.suites[name], opened)
        for name in contents.suites
        if name in rule.suites
    }
    if as_json:
        judged = {
            name: {
                "pin": use.pin,
                "policies": list(use.policies),
                "budget": use.budget,
                "left": use.left,
            }
            for name, use in uses.items()
        }
        typer.echo(json.dumps(contents.model_dump(mode="json") | {"uses": judged}, indent=2))
        return
    _print(_suite_table(contents, uses), _slice_table(contents))


def _suite_table(contents: VaultContents, uses: Mapping[str, Use]) -> Table:
    suites = Table(
        "suite",
        "prompts",
        "variants",
        "digest",
        "pinned",
        "policies judged",
        "source",
        box=SIMPLE_HEAD,
    )
    for name, suite in contents.suites.items():
        judged_by = (
            f"{len(uses[name].policies)} of {uses[name].budget}" if name in uses else "no rule"
        )
        pinned = _pinned(suite.content, uses[name].pin) if name in uses else "no rule"
        suites.add_row(
            name,
            str(suite.prompts),
            str(suite.variants),
            short(suite.content),
            pinned,
            judged_by,
            Text(printable(suite.source)),
        )
    return suites


def _slice_table(contents: VaultContents) -> Table:
    slices = Table("suite", "slice", "prompts", "expected", "words", "tests", box=SIMPLE_HEAD)
    for name, suite in contents.suites.items():
        for slice_name, facts in suite.slices.items():
            expected = ", ".join(f"{what} {count}" for what, count in facts.expected.items())
            slices.add_row(
                name,
                slice_name,
                str(facts.prompts),
                expected,
                f"{facts.words:g}",
                Text(printable(", ".join(facts.tags))),
            )
    return slices


@app.command("openings")
def show_openings(
    home: HomeOption = None, profile: ProfileOption = None, as_json: JsonOption = False
) -> None:
    """Who opened which suite, for what and with which policy, in the order of the ledger."""
    layout = layout_of(home, profile)
    opened = openings(Ledger(layout.ledger), layout.profile)
    if as_json:
        typer.echo(json.dumps([opening.model_dump(mode="json") for opening in opened], indent=2))
        return
    if not opened:
        typer.echo(f"nobody opened the vault of profile {layout.profile} yet")
        return
    table = Table("suite", "purpose", "by", "policy", "suite digest", "vault", box=SIMPLE_HEAD)
    for opening in opened:
        policy = "" if opening.policy is None else short(opening.policy)
        table.add_row(
            opening.suite,
            opening.purpose,
            Text(printable(opening.by)),
            policy,
            short(opening.content),
            short(opening.vault),
        )
    _print(table)


@app.command("overlaps")
def show_overlaps(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Suites of the newest vault that share prompts: what is in both is counted twice by whoever
    reads both."""
    _, folder, contents = newest_vault(layout_of(home, profile))
    overlaps: list[dict[str, Any]] = json.loads((folder / OVERLAPS).read_bytes())
    if not overlaps:
        typer.echo(f"no prompt stands in two of the suites {', '.join(contents.suites)}")
        return
    table = Table("suite", "shares", "of", "with", "how", box=SIMPLE_HEAD)
    for overlap in overlaps:
        kinds = ", ".join(f"{count} {kind}" for kind, count in overlap["kinds"].items())
        table.add_row(
            overlap["second"], str(overlap["prompts"]), str(overlap["of"]), overlap["first"], kinds
        )
    _print(table)


@app.command()
def pin(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Lines for vault.suites of the profile that pin every suite to what it is in the newest
    vault."""
    layout = layout_of(home, profile)
    _, _, contents = newest_vault(layout)
    rule, opened = profile_of(layout).vault, openings(Ledger(layout.ledger), layout.profile)
    for name, suite in contents.suites.items():
        own = rule.suites.get(name)
        if own is None:
            raise ConfigError(
                f"suite '{name}' has no rule in vault.suites of profile '{layout.profile}'; add one"
            )
        if own.grows:
            typer.echo(
                f"    {name}: {{budget: {own.budget}, grows: true}}  # prompts are only ever added"
            )
            continue
        use = suite_use(name, own, opened)
        note = (
            ""
            if use.pin in (None, suite.content)
            else f"  # was {use.pin}, with {len(use.policies)} policies judged"
        )
        typer.echo(f"    {name}: {{budget: {own.budget}, pin: {suite.content}}}{note}")


@app.command()
def read(
    suite: Annotated[str, typer.Argument(help="Suite to read.")],
    by: Annotated[
        str, typer.Option("--by", help="Who reads; it stands in the ledger from now on.")
    ],
    slice_: Annotated[str | None, typer.Option("--slice", help="One slice alone.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Prompts to print.")] = 20,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Print prompts of a suite. That somebody looked is recorded as an inspection: whoever trains
    should not have."""
    layout = layout_of(home, profile)
    _, folder, contents = newest_vault(layout)
    if suite not in contents.suites:
        raise ConfigError(
            f"the vault of profile '{layout.profile}' has no suite '{suite}'; it has"
            f" {', '.join(contents.suites)}"
        )
    prompts = open_vault(
        folder,
        Ledger(layout.ledger),
        purpose="inspection",
        by=by,
        policy=None,
        rule=profile_of(layout).vault,
    )
    own = [
        prompt
        for prompt in prompts
        if prompt.suite == suite and slice_ in (None, prompt.context.slice)
    ]
    for prompt in own[:limit]:
        turns = " | ".join(
            f"{message.role}: {escaped(' '.join(message.content.split()))}"
            for message in prompt.prompt
        )
        typer.echo(f"{prompt.id}  {prompt.context.slice}  {prompt.expected}  {turns}")
    typer.echo(
        f"{min(limit, len(own))} of {len(own)} prompts; the inspection by {printable(by)} is in the"
        " ledger"
    )


def newest_vault(layout: HomeLayout) -> tuple[Artifact, Path, VaultContents]:
    """Manifest, folder and contents of the vault that a run of this profile made last, whatever the
    profile said then.

    Raises:
        ArtifactNotFound: If no run made one.
    """
    store = ArtifactStore(layout.store)
    made = []
    for digest in store.manifests():
        files = materialization_files(store.root, digest)
        if (
            files
            and (artifact := store.manifest(digest)).kind == EVAL_VAULT
            and artifact.facts.get("profile") == layout.profile
        ):
            made.append((max(path.stat().st_mtime_ns for path in files), digest))
    if not made:
        raise ArtifactNotFound(
            f"{store.root}: no run made the vault of profile '{layout.profile}'; run `make demo`,"
            " or materialize eval_vault"
        )
    folder, artifact = store.open(max(made)[1], kind=EVAL_VAULT)
    return artifact, folder, read_contents(folder)


def _pinned(content: str, pin: str | None) -> str:
    return "not yet" if pin is None else "yes" if pin == content else f"no: {short(pin)}"


def _print(*tables: Table) -> None:
    console = Console(width=None if Console().is_terminal else WIDTH)
    for table in tables:
        console.print(table)
