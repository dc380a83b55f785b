"""Every gate on one world."""

from collections.abc import Callable
from typing import Final

from tests.gallery import data_gates, judge_gates, record_gates, report_gates, training_gates
from tests.gallery.data_gates import Found
from tests.gallery.worlds import World

GATES: Final[tuple[Callable[[World], Found], ...]] = (
    data_gates.admission,
    data_gates.annotators,
    data_gates.decontamination,
    data_gates.certificates,
    training_gates.launch,
    training_gates.job_spec,
    training_gates.mask_receipt,
    training_gates.lineage,
    record_gates.vault,
    report_gates.report,
    report_gates.gates,
    judge_gates.guardrails,
    record_gates.signed,
    record_gates.promotions,
)
"""Functions that run one group of gates each, in the order of the pipeline."""


def inspect(world: World) -> Found:
    """What each gate found, by the name of the gate; None where it let the world pass."""
    found: Found = {}
    for group in GATES:
        made = group(world)
        if repeated := found.keys() & made.keys():
            raise ValueError(f"two gates are called {sorted(repeated)}")
        found |= made
    return found


def fired(world: World) -> dict[str, str]:
    """The gates that stop a world, with what they found."""
    return {gate: what for gate, what in inspect(world).items() if what is not None}
