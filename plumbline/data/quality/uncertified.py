"""Whether the data that models were trained on still carry a passing certificate."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from plumbline.data.quality.certificate import read_certificate
from plumbline.errors import GateRefused
from plumbline.lineage.findings import Finding
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DEMONSTRATIONS,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    REWARD_MODEL,
)
from plumbline.storage.artifacts import Artifact

CERTIFIED = frozenset({DEMONSTRATIONS, PREFERENCE_DATA})
TRAINED = frozenset({REFERENCE_POLICY, REWARD_MODEL, ALIGNED_POLICY})


def uncertified(manifests: Mapping[str, Artifact], store_root: Path) -> Iterator[Finding]:
    """Findings about data that a model of the lineage was trained on, and that no readable
    certificate passes."""
    trained_on = {
        parent: digest
        for digest, artifact in manifests.items()
        if artifact.kind in TRAINED
        for parent in artifact.parents.values()
    }
    for parent, model in trained_on.items():
        data = manifests.get(parent)
        if data is None or data.kind not in CERTIFIED:
            continue
        problems = []
        for path in sorted(
            (store_root / "certificates").glob(f"{data.tree.removeprefix('sha256:')}-*.json")
        ):
            try:
                certificate = read_certificate(
                    store_root, data.tree, f"sha256:{path.stem.rpartition('-')[2]}"
                )
            except GateRefused as error:
                problems.append(str(error))
                continue
            if certificate.verdict == "pass":
                break
            problems.append(f"suite {certificate.suite_name}: {'; '.join(certificate.problems())}")
        else:
            what = (
                f"{data.kind}: {manifests[model].kind} {model[7:19]} was trained on it, and it has"
                " no passing certificate"
            )
            remedy = (
                "restore the store's certificates folder, or materialize the data asset with all"
                " its checks again"
            )
            yield Finding(
                artifact=parent,
                what=what,
                expected=f"a passing certificate of {data.tree}",
                found=" ".join(problems) or None,
                remedy=remedy,
            )
