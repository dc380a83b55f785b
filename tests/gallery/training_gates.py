"""The gates between data and weights: the launcher's certificates, the job spec, the mask receipt,
and the lineage of what was made."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import ValidationError

from plumbline.audit.walk import walk
from plumbline.data.quality.certificate import require_certificate, write_certificate
from plumbline.errors import ConfigError, GateRefused, MaskBreach
from plumbline.lineage.consistency import require_new_version, require_triple
from plumbline.objectives.masks import (
    MaskedSequence,
    MaskReceipt,
    Vocabulary,
    build_receipt,
    check_receipt,
)
from plumbline.profile.profile import CONFIGS
from plumbline.records import sha256
from plumbline.schema.preferences import PreferencePair
from plumbline.schema.suites import load_suite
from plumbline.training.job.spec import JobSpec
from plumbline.training.models.chat_template import (
    ASSISTANT,
    CONTROL_TOKENS,
    END,
    USER,
    template_identity,
)
from tests.gallery.data_gates import Found, preference_certificate, training_pairs
from tests.gallery.worlds import World, fresh_folder, stage
from tests.unit.audit.chain import Chain, build

ROWS = 24
"""Pairs that are encoded for the mask receipt."""
SHA = sha256(b"gallery")


def job_inputs(world: World) -> dict[str, str]:
    """Inputs of the job that trains the aligned policy."""
    return {"preference_data": SHA, "reference_policy": SHA} | dict(world.extra_inputs)


def job_spec(world: World) -> Found:
    """A job has exactly the inputs of its kind: no training job can be handed the vault."""
    profile = world.profile
    try:
        JobSpec(
            kind="aligned_policy",
            inputs=job_inputs(world),
            certificates={"preference_data": SHA},
            model=profile.model,
            recipe=profile.recipes[profile.candidate],
            hardware=profile.hardware,
            rubric=world.rubric.digest(),
            chat_template=template_identity(profile.model),
            source=SHA,
            packages=SHA,
        )
    except ValidationError as error:
        return {"job spec": str(error)}
    return {"job spec": None}


def tree_of(pairs: Mapping[str, Sequence[PreferencePair]]) -> str:
    """A digest of the pairs as they stand, in place of that of their folder."""
    return sha256(b"".join(pair.to_json() for split in sorted(pairs) for pair in pairs[split]))


@stage("events", "rubric", "now", "profile", "vault", "pairs", "handed_over")
def launch(world: World) -> Found:
    """The launcher trains on no data but those that were certified; a certificate that says no is
    reported by its own expectations."""
    certificate, _ = preference_certificate(world)
    root = fresh_folder()
    certified = training_pairs(world)
    write_certificate(root, certificate.model_copy(update={"data": tree_of(certified)}))
    try:
        require_certificate(
            root,
            tree_of(world.handed_over or certified),
            load_suite(CONFIGS / world.profile.preferences.suite),
        )
    except GateRefused as refused:
        if not certificate.problems():
            return {"launch: certificate": str(refused)}
    return {"launch: certificate": None}


def _ids() -> dict[str, int]:
    return {token: number for number, token in enumerate(CONTROL_TOKENS)}


def encoded(pairs: Sequence[PreferencePair]) -> Iterator[MaskedSequence]:
    """Pairs word by word in the chat format of the sandbox: the response and its end are
    supervised, everything before is not."""
    known = _ids()
    for pair in pairs:
        for response in (pair.chosen, pair.rejected):
            prompt = [
                known.setdefault(word, len(known))
                for word in (USER, *pair.prompt[-1].content.split(), ASSISTANT)
            ]
            answer = [known.setdefault(word, len(known)) for word in (*response.split(), END)]
            yield MaskedSequence(
                prompt + answer, [False] * len(prompt) + [True] * len(answer), prompt, 3
            )


@stage("events", "rubric", "now", "profile", "vault", "pairs", "encoding", "dropped")
def mask_receipt(world: World) -> Found:
    """The receipt of what a trainer would learn from."""
    pairs = list(islice(training_pairs(world)["train"], ROWS))
    names = _ids()
    vocabulary = Vocabulary(
        frozenset({names[END]}),
        None,
        frozenset(names.values()),
        lambda ids: [str(one) for one in ids],
    )
    sequences = list(encoded(pairs))
    split = build_receipt(
        world.encoding(sequences) if world.encoding else sequences,
        vocabulary,
        rows_in=len(pairs),
        rows_used=len(pairs) - world.dropped,
        dropped={},
    )
    try:
        check_receipt(MaskReceipt(supervision="response and its end", splits={"train": split}))
    except MaskBreach as breach:
        return {"mask receipt": str(breach)}
    return {"mask receipt": None}


@stage("rubric", "tamper")
def chain(world: World) -> Chain:
    """A complete lineage in an artifact store, from the rubric to a release."""
    made = build(fresh_folder() / "store")
    made.publish(
        "rubric-of-today",
        {"rubric.json": world.rubric.model_dump(mode="json")},
        kind="rubric",
        facts={"label": world.rubric.label},
    )
    if world.tamper is not None:
        world.tamper(made)
    return made


@stage("rubric", "tamper", "edited_rubric")
def lineage(world: World) -> Found:
    """What the walk over the lineage finds, and what is refused before anything is made from
    parents that do not belong together."""
    made = chain(world)
    findings = walk(made.store, made.digests["release"]).findings
    parents = {
        name: made.digests[name] for name in ("rubric", "preference_data", "reference_policy")
    }
    return {
        "lineage walk": "; ".join(f"{finding.what}" for finding in findings) or None,
        "triple": _refusal(GateRefused, require_triple, made.store, parents, "aligned_policy"),
        "rubric version": _refusal(
            ConfigError, require_new_version, made.store, world.edited_rubric or world.rubric
        ),
    }


def _refusal(kind: type[Exception], function: Any, *arguments: Any) -> str | None:
    try:
        function(*arguments)
    except kind as refused:
        return str(refused)
    return None
