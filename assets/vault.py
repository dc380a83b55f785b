"""The eval vault: held-out suites, pinned and budgeted, and the one way in which assets read
them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.red_team import campaigns_of, red_team
from assets.shown.presentation import counts_table
from plumbline.evaluation.vault.opening import Purpose, open_vault, openings, suite_use
from plumbline.evaluation.vault.suites import CAMPAIGN, VaultContents, read_contents
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.kinds import EVAL_VAULT
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.evaluation.vault.build import Vault


@dg.asset(
    group_name="data", kinds={"jsonl"}, owners=OWNERS, code_version=CODE_VERSION, deps=[red_team]
)
def eval_vault(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Held-out prompts by suite and slice, and variants of them; whoever opens it is in the ledger,
    and training data that repeats a prompt is set aside."""
    from plumbline.data.sources import load_held_out_prompts
    from plumbline.evaluation.vault.build import VaultInputs, build_vault

    profile = home.profile()
    loaded = load_held_out_prompts(profile, home.data_folder)
    campaigns = campaigns_of(context, home)
    successes, retired = _red_team_successes(home, campaigns)
    inputs = VaultInputs(loaded.rows, loaded.sources, successes, retired, list(campaigns))
    with home.store().staging() as folder:
        vault = build_vault(inputs, profile, folder)
        return publish(
            context,
            home,
            folder,
            parents={f"red_team:{name}": campaign for name, campaign in campaigns.items()},
            facts=_facts(vault) | {"rows_in": loaded.rows_in, "rejected": loaded.rejected},
            metadata=_metadata(home, vault, loaded.rejected),
        )


def _facts(vault: "Vault") -> dict[str, Any]:
    contents = vault.contents
    return {
        "profile": contents.profile,
        "rows": len(vault.prompts),
        "slices": contents.slices,
        "suites": {name: suite.content for name, suite in contents.suites.items()},
    }


def _metadata(home: Home, vault: "Vault", rejected: Mapping[str, int]) -> dict[str, Any]:
    return {
        "dagster/row_count": len(vault.prompts),
        "rejected": dg.MetadataValue.json(dict(rejected)),
        "suites": suites_table(home, vault.contents),
        "slices": slices_table(vault.contents),
        "tags": counts_table("tag", vault.contents.tags),
        "in two suites": dg.MetadataValue.json(list(vault.shared)),
    }


def _red_team_successes(
    home: Home, campaigns: Mapping[str, Upstream]
) -> tuple[list[EvalPrompt], list[str]]:
    """What broke a policy once, and the ids of those prompts that are lessons by now and no test
    any more."""
    from plumbline.evaluation.red_team.triage import attempts_used_in_training
    from plumbline.evaluation.vault.regression_suite import regression_prompts

    folders = {name: campaign.folder for name, campaign in campaigns.items()}
    kept = regression_prompts(
        folders, attempts_used_in_training(home.ledger(), home.profile().name)
    )
    ids = {prompt.id for prompt in kept}
    return kept, [prompt.id for prompt in regression_prompts(folders) if prompt.id not in ids]


def held_out(
    home: Home, vault: Upstream, *, purpose: Purpose, by: str, policy: str | None = None
) -> list[EvalPrompt]:
    """The held-out prompts, opened under the rule of the profile; see
    `plumbline.evaluation.vault.opening.open_vault`.

    For `contamination` without the successes of red teams: an attack quotes what people also ask in
    earnest, and would take those prompts out of the training data. What of them was trained on as a
    whole is found at evaluation (`plumbline.evaluation.vault.leaks`).
    """
    prompts = open_vault(
        vault.folder,
        home.ledger(),
        purpose=purpose,
        by=by,
        policy=policy,
        rule=home.profile().vault,
    )
    return [
        prompt for prompt in prompts if purpose != "contamination" or CAMPAIGN not in prompt.facts
    ]


def suites_table(home: Home, contents: VaultContents) -> dg.TableMetadataValue:
    """Every suite with its digest, and how far it is used up."""
    opened, rule = openings(home.ledger(), contents.profile), home.profile().vault
    rows: list[dict[str, str | int | float]] = []
    for name, suite in contents.suites.items():
        use = suite_use(name, rule.suites[name], opened)
        pinned = (
            "grows"
            if rule.suites[name].grows
            else (
                "not opened yet"
                if use.pin is None
                else "as it was"
                if use.pin == suite.content
                else use.pin
            )
        )
        rows.append(
            {
                "suite": name,
                "prompts": suite.prompts,
                "of them variants": suite.variants,
                "source": suite.source,
                "digest": suite.content,
                "pinned": pinned,
                "policies judged": f"{len(use.policies)} of {use.budget}",
            }
        )
    return _table(rows)


def slices_table(contents: VaultContents) -> dg.TableMetadataValue:
    """Every slice with what it tests."""
    return _table(
        [
            {
                "suite": suite,
                "slice": name,
                "prompts": facts.prompts,
                "expected": ", ".join(
                    f"{expected} {count}" for expected, count in facts.expected.items()
                ),
                "words": facts.words,
                "tests": ", ".join(facts.tags),
            }
            for suite, one in contents.suites.items()
            for name, facts in one.slices.items()
        ]
    )


def _table(rows: list[dict[str, str | int | float]]) -> dg.TableMetadataValue:
    kinds = {int: "int", float: "float", str: "string"}
    columns = [
        dg.TableColumn(name=name, type=kinds[type(value)]) for name, value in rows[0].items()
    ]
    return dg.TableMetadataValue(
        records=[dg.TableRecord(row) for row in rows], schema=dg.TableSchema(columns=columns)
    )


@dg.asset_check(
    asset=eval_vault,
    description="Every suite is the one that was opened first, or the one that the profile pins.",
)
def vault_pinned(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show what opening the vault will enforce: a suite that changed cannot judge the next policy
    beside the last one."""
    contents = read_contents(upstream(context, home, EVAL_VAULT).folder)
    rule, opened = home.profile().vault, openings(home.ledger(), contents.profile)
    pins = {name: suite_use(name, rule.suites[name], opened).pin for name in contents.suites}
    moved = {
        name: {"is": suite.content, "pinned": pins[name]}
        for name, suite in contents.suites.items()
        if pins[name] not in (None, suite.content)
    }
    return dg.AssetCheckResult(
        passed=not moved,
        description=(
            ""
            if not moved
            else (
                f"changed since: {', '.join(moved)}. Restore the prompts, name the suite anew, or"
                " pin the new digest in the profile."
            )
        ),
        metadata={"suites": suites_table(home, contents), "moved": dg.MetadataValue.json(moved)},
    )


@dg.asset_check(
    asset=eval_vault,
    description=(
        "The vault has the slices that the gates of the profile name, with as many prompts as they"
        " need."
    ),
)
def vault_slices(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Warn before anything is trained: a gate without prompts holds every release."""
    contents = read_contents(upstream(context, home, EVAL_VAULT).folder)
    short = {}
    for gate in home.profile().gates:
        own = contents.prompts_in(gate.slice)
        if own < gate.min_n:
            short[gate.id] = f"needs {gate.min_n} prompts of {gate.slice}, the vault has {own}"
    return dg.AssetCheckResult(
        passed=not short,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{gate} {why}" for gate, why in short.items()),
        metadata={
            "gates": dg.MetadataValue.json(short),
            "slices": counts_table("slice", contents.slices),
        },
    )
