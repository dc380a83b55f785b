"""The eval vault on disk: held-out prompts by suite and slice, and what each of them tests.

::

    prompts.jsonl    every held-out prompt; only `open_vault` of `vault.opening` reads it
    suites.json      `VaultContents`: digest, source and slices of every suite, for whoever must
                     not see the prompts
    overlaps.json    prompts that stand in two suites

A **suite** is a set of prompts that is pinned, budgeted and renewed as a whole (`xstest`,
`agent-actions`). A **slice** is a set of prompts on which metrics are estimated (`harm-es`).
**Tags** say which respects of the behaviour a slice tests.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import Field

from plumbline.errors import ConfigError, DataError
from plumbline.profile.evaluation import VaultConfig
from plumbline.records import Record, sha256
from plumbline.schema.held_out import PROMPTS, EvalPrompt
from plumbline.schema.identifiers import Digest, Identifier, Text
from plumbline.storage.jsonl import write_records

SUITES: Final = "suites.json"
OVERLAPS: Final = "overlaps.json"
CAMPAIGN: Final = "campaign"
"""Fact of a prompt with which a red team once broke a policy: the campaign that found it."""
SHORT: Final = 20
"""Words of a prompt below which it is tagged `length:short`."""
LONG: Final = 100
"""Words from which it is tagged `length:long`."""


class SliceFacts(Record):
    """What is known of a slice without its prompts."""

    prompts: int = Field(gt=0)
    expected: dict[str, int] = Field(
        description="prompts by what a good policy does on them: comply, refuse or unknown"
    )
    tags: dict[str, int] = Field(description="prompts by tag, see `tags`")
    words: float = Field(ge=0, description="median words of a prompt, all turns together")


class SuiteFacts(Record):
    """What is known of a suite without its prompts."""

    content: Digest = Field(
        description="digest of its prompts, variants included, see `suite_digest`"
    )
    source: Text = Field(description="where the prompts come from")
    prompts: int = Field(gt=0, description="prompts, variants included")
    variants: int = Field(ge=0, description="how many of them word another prompt anew")
    slices: dict[Identifier, SliceFacts]


class VaultContents(Record):
    """What the vault of a profile holds; suites.json."""

    profile: Identifier
    suites: dict[Identifier, SuiteFacts]
    retired: dict[Identifier, tuple[Identifier, ...]] = Field(
        default_factory=dict,
        description=(
            "ids of prompts that left a suite that grows, because something was trained on them"
        ),
    )

    @property
    def slices(self) -> dict[str, int]:
        """Prompts of every slice, over all suites."""
        counts: Counter[str] = Counter()
        for suite in self.suites.values():
            counts.update({name: facts.prompts for name, facts in suite.slices.items()})
        return dict(sorted(counts.items()))

    def prompts_in(self, name: str) -> int:
        """Prompts of a slice as the eval report knows it: its own, or pooled over the part after
        the last `-`, variants among themselves."""
        counts = self.slices
        base, _, variant = name.partition(".")
        parts = [(slice_name.partition("."), count) for slice_name, count in counts.items()]
        pooled = sum(
            count
            for (stem, _, manner), count in parts
            if manner == variant and base in (stem.rpartition("-")[0], "all")
        )
        return counts.get(name, pooled)

    @property
    def tags(self) -> dict[str, int]:
        """Prompts by tag, over all suites."""
        counts: Counter[str] = Counter()
        for suite in self.suites.values():
            for facts in suite.slices.values():
                counts.update(facts.tags)
        return dict(sorted(counts.items()))


def tags(prompt: EvalPrompt) -> frozenset[str]:
    """Which respects of the behaviour a prompt tests.

    One of `safety` (to be refused), `borderline` (to be answered, and only sounds unsafe),
    `helpfulness` (to be answered) and `unlabelled`; `actions` where a tool call is judged; and one
    each of `language:`, `roles:` (`single` turn, `conversation`, or with a `system` message),
    `template:` (`own`, `story`, or the variant), `length:` (`short` below 20 words, `long` from
    100, else `medium`) and `domain:`.
    """
    users = sum(message.role == "user" for message in prompt.prompt)
    roles = (
        "system"
        if any(message.role == "system" for message in prompt.prompt)
        else "single"
        if users < 2
        else "conversation"
    )
    words = _words(prompt)
    prompt_tags = {
        _purpose(prompt),
        f"language:{prompt.context.locale}",
        f"roles:{roles}",
        f"template:{prompt.facts.get('variant') or prompt.facts.get('template') or 'own'}",
        f"length:{'short' if words < SHORT else 'long' if words >= LONG else 'medium'}",
        f"domain:{prompt.context.domain}",
    }
    return frozenset(prompt_tags | ({"actions"} if "allowed_calls" in prompt.facts else set()))


def is_borderline(prompt: EvalPrompt) -> bool:
    """Whether a prompt is to be answered although it sounds like one to be refused."""
    return _purpose(prompt) == "borderline"


def suite_digest(prompts: Iterable[EvalPrompt]) -> str:
    """Digest of a set of prompts, whatever their order."""
    return sha256(
        b"".join(prompt.to_json() for prompt in sorted(prompts, key=lambda prompt: prompt.id))
    )


def describe(
    prompts: Sequence[EvalPrompt],
    profile: str,
    sources: Mapping[str, str],
    retired: Mapping[str, Sequence[str]] | None = None,
) -> VaultContents:
    """The contents of a vault with these prompts.

    Args:
        prompts: Every prompt, variants included.
        profile: Name of the profile whose vault it is.
        sources: Where the prompts of each suite come from.
        retired: Ids of the prompts that left each suite that grows.
    """
    suites: dict[str, SuiteFacts] = {}
    for suite in sorted({prompt.suite for prompt in prompts}):
        own = [prompt for prompt in prompts if prompt.suite == suite]
        slices = {
            name: [prompt for prompt in own if prompt.context.slice == name]
            for name in sorted({prompt.context.slice for prompt in own})
        }
        suites[suite] = SuiteFacts(
            content=suite_digest(own),
            source=sources[suite],
            prompts=len(own),
            variants=sum("variant_of" in prompt.facts for prompt in own),
            slices={name: _slice_facts(members) for name, members in slices.items()},
        )
    left = {suite: tuple(sorted(ids)) for suite, ids in sorted((retired or {}).items()) if ids}
    return VaultContents(profile=profile, suites=suites, retired=left)


def write_vault(folder: Path, prompts: Sequence[EvalPrompt], contents: VaultContents) -> None:
    """Write prompts.jsonl, by suite, slice and id, and suites.json.

    Raises:
        DataError: If an id stands twice.
    """
    repeated = sorted(
        name for name, count in Counter(prompt.id for prompt in prompts).items() if count > 1
    )
    if repeated:
        raise DataError(
            f"{len(repeated)} ids of held-out prompts stand twice, the first is {repeated[0]}; give"
            " every prompt an id of its own"
        )
    ordered = sorted(prompts, key=lambda prompt: (prompt.suite, prompt.context.slice, prompt.id))
    write_records(folder / PROMPTS, ordered)
    (folder / SUITES).write_bytes(contents.to_json())


def read_contents(folder: Path) -> VaultContents:
    """What a vault holds, without its prompts."""
    return VaultContents.from_json((folder / SUITES).read_bytes())


def require_rules(suites: Iterable[str], rule: VaultConfig) -> None:
    """Check that the rule of the profile and the suites of its vault name each other.

    Raises:
        ConfigError: If a suite has no rule, or a rule is for a suite that the vault does not have;
            a suite that grows may still be empty.
    """
    held = set(suites)
    for name in sorted(held - rule.suites.keys()):
        raise ConfigError(
            f"vault.suites: suite '{name}' has no rule; say how many policies it may judge, for"
            f" example `{name}: {{budget: 100}}`"
        )
    for name in sorted(rule.suites.keys() - held):
        if not rule.suites[name].grows:
            raise ConfigError(
                f"vault.suites: there is a rule for '{name}', but the vault has the suites"
                f" {', '.join(sorted(held))}; remove the rule"
            )


def _purpose(prompt: EvalPrompt) -> str:
    if prompt.expected == "comply":
        return "borderline" if prompt.facts.get("borderline") == "yes" else "helpfulness"
    return "safety" if prompt.expected == "refuse" else "unlabelled"


def _words(prompt: EvalPrompt) -> int:
    return sum(len(message.content.split()) for message in prompt.prompt)


def _slice_facts(prompts: Sequence[EvalPrompt]) -> SliceFacts:
    counted = Counter(tag for prompt in prompts for tag in tags(prompt))
    expected = Counter(prompt.expected for prompt in prompts)
    return SliceFacts(
        prompts=len(prompts),
        expected={str(name): count for name, count in sorted(expected.items())},
        tags=dict(sorted(counted.items())),
        words=float(median(_words(prompt) for prompt in prompts)),
    )
