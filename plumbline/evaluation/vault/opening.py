"""Opening the eval vault: every reader and every policy that was judged is in the ledger before
anybody sees a prompt.

A held-out suite wears out: each policy that it judges, and that somebody then changes in the light
of the result, tells a little about it (Dwork et al. 2015). So each suite has a budget of policies.
And it must stay what it was: its digest is pinned by the profile, or by its first opening, so that
two policies were judged by the same prompts. Both rules are checked here, where the prompts are
read, and nowhere can they be read otherwise: the job that samples responses gets the tree through
its specification, and the asset that starts it opens the vault first.

An opening is one ledger entry for each suite, of the kind `vault-opening`. Opening the same tree
again for the same purpose, reader and policy is the same use and adds nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import Field, ValidationError

from plumbline.data.splits import prompt_key
from plumbline.errors import VaultRefused
from plumbline.evaluation.vault.suites import VaultContents, read_contents, suite_digest
from plumbline.lineage.ledger import Ledger
from plumbline.profile.evaluation import SuiteConfig, VaultConfig
from plumbline.records import Record, canonical_json, sha256
from plumbline.schema.held_out import PROMPTS, EvalPrompt
from plumbline.schema.identifiers import Digest, Identifier, Text
from plumbline.storage.artifacts import hash_tree, tree_digest
from plumbline.storage.jsonl import read_records

KIND: Final = "vault-opening"
Purpose = Literal["evaluation", "contamination", "inspection"]
"""Why the vault is opened. `evaluation` judges a policy and counts against the budget;
`contamination` looks for its prompts in training data; `inspection` is a person who reads them.
"""


class Opening(Record):
    """One opening of one suite: the body of its ledger entry."""

    profile: Identifier
    suite: Identifier
    content: Digest = Field(
        description="digest of the suite, see `plumbline.evaluation.vault.suites.suite_digest`"
    )
    vault: Digest = Field(description="digest of the whole tree that was opened")
    purpose: Purpose
    by: Text = Field(description="asset or person that reads")
    policy: Digest | None = Field(
        description="artifact of the policy that is judged; null for every purpose but evaluation"
    )
    members: dict[Identifier, Digest] = Field(
        default_factory=dict,
        description="of a suite that grows: what every prompt asks and expects, by its id",
    )

    @property
    def key(self) -> str:
        """What makes two openings the same use."""
        return "|".join(
            (
                self.profile,
                self.suite,
                self.purpose,
                self.vault,
                self.by,
                self.policy or "-",
                *(["grows"] if self.members else []),
            )
        )


class Use(NamedTuple):
    """How far a suite is used up."""

    policies: tuple[str, ...]
    """Policies that it judged, the first one first."""
    budget: int
    pin: str | None
    """The digest that it must have; None while nobody opened it and the profile pins nothing, and
    for a suite that grows."""

    @property
    def left(self) -> int:
        """Policies that it may still judge."""
        return max(0, self.budget - len(self.policies))


def open_vault(
    folder: Path,
    ledger: Ledger,
    *,
    purpose: Purpose,
    by: str,
    policy: str | None,
    rule: VaultConfig,
) -> list[EvalPrompt]:
    """The held-out prompts, after the opening of every suite is in the ledger.

    Args:
        folder: Tree of an `eval_vault` artifact.
        ledger: Where openings are recorded.
        purpose: Why the vault is opened.
        by: Asset or person that reads.
        policy: Digest of the artifact of the judged policy for `evaluation`, None for every other
            purpose.
        rule: Pins and budgets of the suites.

    Raises:
        VaultRefused: If a suite has no rule, is not the pinned one, lost or changed a prompt, or
            has judged as many policies as its budget allows.
        ValueError: If an evaluation names no policy, or something else names one.
    """
    if (purpose == "evaluation") != (policy is not None):
        raise ValueError(
            f"purpose '{purpose}' with policy {policy}: an evaluation names the policy that it"
            " judges, and nothing else does"
        )
    contents = read_contents(folder)
    prompts = list(read_records(folder / PROMPTS, EvalPrompt))
    wanted = _openings_of(
        prompts,
        contents,
        rule,
        vault=tree_digest(hash_tree(folder)),
        purpose=purpose,
        by=by,
        policy=policy,
    )
    # Before, so that a refused opening leaves no trace; and after, because another process may have
    # opened the vault in between.
    _require_kept(contents, prompts, openings(ledger, contents.profile), rule)
    _require_allowed(wanted, openings(ledger, contents.profile), rule)
    for opening in wanted:
        ledger.append(KIND, opening.key, opening.model_dump(mode="json"))
    _require_allowed(wanted, openings(ledger, contents.profile), rule)
    return prompts


def openings(ledger: Ledger, profile: str) -> tuple[Opening, ...]:
    """Every opening of the vault of one profile, in order.

    Raises:
        VaultRefused: If an entry is none of this version.
    """
    try:
        recorded = [Opening.from_json(canonical_json(entry.body)) for entry in ledger.entries(KIND)]
    except ValidationError as error:
        raise VaultRefused(
            f"{ledger.path}: an opening of the vault is of another version of Plumbline"
            f" ({error.errors()[0]['msg']}); use that one"
        ) from error
    return tuple(opening for opening in recorded if opening.profile == profile)


def suite_use(suite: str, rule: SuiteConfig, opened: Iterable[Opening]) -> Use:
    """What the openings say about one suite: which policies it judged, and which digest it must
    have."""
    own = [opening for opening in opened if opening.suite == suite]
    policies = tuple(dict.fromkeys(opening.policy for opening in own if opening.policy is not None))
    first = None if rule.grows or not own else own[0].content
    return Use(policies=policies, budget=rule.budget, pin=rule.pin or first)


def _openings_of(
    prompts: Sequence[EvalPrompt],
    contents: VaultContents,
    rule: VaultConfig,
    *,
    vault: str,
    purpose: Purpose,
    by: str,
    policy: str | None,
) -> list[Opening]:
    by_suite: dict[str, list[EvalPrompt]] = {}
    for prompt in prompts:
        by_suite.setdefault(prompt.suite, []).append(prompt)
    if by_suite.keys() != contents.suites.keys():
        raise VaultRefused(
            f"the vault holds prompts of {sorted(by_suite)}, but its suites.json names"
            f" {sorted(contents.suites)}; materialize eval_vault again"
        )
    wanted = []
    for suite, own in sorted(by_suite.items()):
        if suite not in rule.suites:
            raise VaultRefused(
                f"suite '{suite}' of the vault has no rule; add it to vault.suites of profile"
                f" '{contents.profile}'"
            )
        grows = rule.suites[suite].grows
        wanted.append(
            Opening(
                profile=contents.profile,
                suite=suite,
                content=suite_digest(own),
                vault=vault,
                purpose=purpose,
                by=by,
                policy=policy,
                members={prompt.id: _asked(prompt) for prompt in own} if grows else {},
            )
        )
    return wanted


def _require_allowed(
    wanted: Sequence[Opening], opened: Sequence[Opening], rule: VaultConfig
) -> None:
    for opening in wanted:
        own = rule.suites[opening.suite]
        use = suite_use(opening.suite, own, opened)
        if use.pin is not None and opening.content != use.pin:
            raise VaultRefused(_other_suite(opening, use.pin, own.pin is not None))
        if (
            opening.policy is not None
            and opening.policy not in use.policies[: own.budget]
            and len(use.policies) >= own.budget
        ):
            raise VaultRefused(
                f"suite '{opening.suite}' has judged {len(use.policies)} policies, and its budget"
                f" is {own.budget}: what was learned from them is in every further policy, so its"
                " verdict would flatter. Renew it: put fresh prompts under a new name, with a rule"
                f" of its own in vault.suites of profile '{opening.profile}'; `plumbline evaluate"
                " vault"
                " show` lists what the others have left"
            )


def _other_suite(opening: Opening, pin: str, by_profile: bool) -> str:
    where = (
        f"the pin in vault.suites of profile '{opening.profile}'"
        if by_profile
        else "its first opening, in the ledger"
    )
    return (
        f"suite '{opening.suite}' is {opening.content}, but {where}, says {pin}: policies judged by"
        " different prompts cannot be compared. Restore the prompts; or, if the change is meant,"
        " give the suite another name, or name the new digest as its `pin` (`plumbline evaluate"
        " vault pin`"
        " prints it)"
    )


def _require_kept(
    contents: VaultContents,
    prompts: Iterable[EvalPrompt],
    opened: Iterable[Opening],
    rule: VaultConfig,
) -> None:
    """Refuse when a suite that grows lacks a prompt that an earlier opening saw and that did not
    retire, or asks it otherwise; also when all of it is gone."""
    here = {(prompt.suite, prompt.id, _asked(prompt)) for prompt in prompts}
    seen = {
        (opening.suite, *member)
        for opening in opened
        if opening.suite in rule.suites and rule.suites[opening.suite].grows
        for member in opening.members.items()
    }
    lost = Counter(
        suite for suite, name, asked in seen - here if name not in contents.retired.get(suite, ())
    )
    for suite, count in sorted(lost.items()):
        raise VaultRefused(
            f"suite '{suite}' may gain prompts and never lose or change one, but {count} of those"
            " that were opened before are not in it; restore them, or route them to the training"
            " data or the guardrail (`plumbline evaluate failures route`)"
        )


def _asked(prompt: EvalPrompt) -> str:
    """Digest of what a prompt asks and expects, whatever its case and spaces and whoever found it
    first."""
    return sha256(canonical_json([prompt_key(prompt.prompt), prompt.expected]))
