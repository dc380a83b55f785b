"""Leaks: held-out prompts that the judged policy was trained on, and prompts that stand in two
suites.

The data is compared with the vault twice. Before training, pairs that repeat a held-out prompt are
set aside (`plumbline.data.preferences.held_out`). And at evaluation, the held-out prompts that
stand in what this very policy was trained on are set aside here: the vault may have been renewed
since, demonstrations come from elsewhere, and a champion may be older than both. What is compared,
and what is not found, says `plumbline.data.decontamination.contamination`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from pydantic import Field

from plumbline.data.decontamination.contamination import HeldOutIndex
from plumbline.evaluation.vault.suites import CAMPAIGN
from plumbline.profile.data import ContaminationConfig
from plumbline.profile.evaluation import VaultConfig
from plumbline.records import Record
from plumbline.schema.checks import VAULT_LEAK, CheckVerdict
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import Identifier
from plumbline.schema.kinds import (
    DEMONSTRATIONS,
    DEMONSTRATIONS_FILE,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    REWARD_MODEL,
)
from plumbline.schema.preferences import SPLITS, Demonstration, PreferencePair
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.jsonl import read_records

AT_ONCE: Final = 2048
_KINDS: Final = ("exact", "normalized", "containment")
_TRAINED_FROM: Final = (REFERENCE_POLICY, REWARD_MODEL, PREFERENCE_DATA, DEMONSTRATIONS)
"""Parents of a model whose prompts it was trained on."""
_TRAINED: Final = Context(locale="und", domain="unknown", slice="unsliced")


class SuiteOverlap(Record):
    """Prompts of one suite that are, contain, or are part of a prompt of another one."""

    first: Identifier
    second: Identifier
    prompts: int = Field(
        gt=0, description="prompts of the second suite that a prompt of the first resembles"
    )
    of: int = Field(gt=0, description="prompts of the second suite")
    kinds: dict[str, int] = Field(
        description="prompts by how they resemble: exact, normalized or containment"
    )


def training_prompts(store: ArtifactStore, digests: Iterable[str]) -> list[tuple[Message, ...]]:
    """The distinct prompts that policies and reward models were trained on, directly or through the
    policy that they started from.

    Args:
        store: The artifact store; every tree that is read is verified.
        digests: Artifacts, for example of an aligned policy and its reward model.
    """
    prompts: dict[tuple[tuple[str, str], ...], tuple[Message, ...]] = {}
    waiting, seen = list(digests), set[str]()
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        artifact = store.manifest(digest)
        if artifact.kind in (PREFERENCE_DATA, DEMONSTRATIONS):
            for prompt in _prompts_of(store, digest, artifact.kind):
                prompts.setdefault(
                    tuple((message.role, message.content) for message in prompt), prompt
                )
        else:
            waiting += [
                parent for role, parent in artifact.parents.items() if role in _TRAINED_FROM
            ]
    return list(prompts.values())


def leaks(
    training: Sequence[Sequence[Message]], vault: Sequence[EvalPrompt], rule: ContaminationConfig
) -> dict[str, str]:
    """Held-out prompts that stand in the training data, by id, with how they were recognized:
    `exact`, `normalized` or `containment`.

    Both are searched for in each other, because a short prompt inside a longer one is not found the
    other way round. The success of a red team counts only as a whole: an attack quotes what people
    also ask without one.
    """
    attacks = {prompt.id for prompt in vault if CAMPAIGN in prompt.facts}
    recognized: dict[str, str] = {}

    def name(held_out: str, kind: str) -> None:
        if kind != "containment" or held_out not in attacks:
            recognized[held_out] = min(recognized.get(held_out, kind), kind, key=_KINDS.index)

    index = HeldOutIndex(vault, rule)
    for part in _parts(training):
        for match in index.matches(part):
            if match is not None:
                name(match.held_out, match.kind)
    # The other way round also names every held-out prompt that one training prompt resembles, not
    # only the one that it resembles most.
    trained = [
        EvalPrompt(id=f"{row:012d}", prompt=tuple(prompt), expected="unknown", context=_TRAINED)
        for row, prompt in enumerate(training)
    ]
    backwards = HeldOutIndex(trained, rule)
    for start in range(0, len(vault), AT_ONCE):
        own = vault[start : start + AT_ONCE]
        for prompt, match in zip(
            own, backwards.matches([prompt.prompt for prompt in own]), strict=True
        ):
            if match is not None:
                name(prompt.id, match.kind)
    return dict(sorted(recognized.items()))


def leak_check(
    recognized: Mapping[str, str], vault: Sequence[EvalPrompt], trained: int, rule: VaultConfig
) -> CheckVerdict:
    """The check `vault-leak`: how many held-out prompts the training data holds, and whether it is
    too many for any suite.

    Args:
        recognized: What `leaks` found, by prompt id.
        vault: The held-out prompts.
        trained: Distinct training prompts that were compared.
        rule: Holds the largest share, `max_leaked`.
    """
    if not trained or not vault:
        return CheckVerdict(
            name=VAULT_LEAK,
            verdict="error",
            explanation=(
                f"{trained} training prompts and {len(vault)} held-out prompts were compared, so"
                " nothing can be said"
            ),
            remedy=(
                "materialize eval_vault, and train the policy from demonstrations and preference"
                " data that are in the store"
            ),
        )
    sizes = Counter(prompt.suite for prompt in vault)
    leaked = Counter(prompt.suite for prompt in vault if prompt.id in recognized)
    worn = {
        suite: count
        for suite, count in sorted(leaked.items())
        if count > rule.max_leaked * sizes[suite]
    }
    parts = ", ".join(
        f"{count} of {sizes[suite]} in {suite}" for suite, count in sorted(leaked.items())
    )
    kinds = ", ".join(
        f"{count} {kind}" for kind, count in sorted(Counter(recognized.values()).items())
    )
    message = (
        f"{parts} ({kinds}); they are set aside from every estimate"
        if leaked
        else f"none of the {len(vault)} held-out prompts"
    )
    return CheckVerdict(
        name=VAULT_LEAK,
        verdict="fail" if worn else "pass",
        explanation=(
            f"{message}; {trained} distinct training prompts were compared, and at most"
            f" {rule.max_leaked:.1%} of a suite may be among them"
        ),
        remedy=(
            f"remove the prompts of {', '.join(worn)} from the training data and train again, or"
            " renew the suite"
            if worn
            else ""
        ),
    )


def suite_overlaps(prompts: Sequence[EvalPrompt], rule: ContaminationConfig) -> list[SuiteOverlap]:
    """Which suites share prompts; variants are left out, because they resemble whatever their
    original does."""
    suites: dict[str, list[EvalPrompt]] = {}
    for prompt in prompts:
        if "variant_of" not in prompt.facts:
            suites.setdefault(prompt.suite, []).append(prompt)
    overlaps = []
    for first, second in combinations(sorted(suites), 2):
        shared = leaks([prompt.prompt for prompt in suites[first]], suites[second], rule)
        if shared:
            kinds = dict(sorted(Counter(shared.values()).items()))
            overlaps.append(
                SuiteOverlap(
                    first=first,
                    second=second,
                    prompts=len(shared),
                    of=len(suites[second]),
                    kinds=kinds,
                )
            )
    return overlaps


def _prompts_of(store: ArtifactStore, digest: str, kind: str) -> Iterator[tuple[Message, ...]]:
    folder, _ = store.open(digest, kind=kind)
    if kind == DEMONSTRATIONS:
        yield from (
            demonstration.prompt
            for demonstration in read_records(folder / DEMONSTRATIONS_FILE, Demonstration)
        )
        return
    for split in SPLITS:
        yield from (pair.prompt for pair in read_records(folder / f"{split}.jsonl", PreferencePair))


def _parts(prompts: Sequence[Sequence[Message]]) -> Iterator[Sequence[Sequence[Message]]]:
    yield from (prompts[start : start + AT_ONCE] for start in range(0, len(prompts), AT_ONCE))
