"""What a command asks of Dagster and MLflow: the installed command gives it, `python -m plumbline`
does without."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # the command line starts without these
    from plumbline.lineage.findings import Witness
    from plumbline.release.registry import Registry
    from plumbline.storage.home import HomeLayout

WitnessFactory = Callable[["HomeLayout"], Mapping[str, "Witness"]]
"""Opens the systems that can confirm productions, by name."""
RegistryFactory = Callable[["HomeLayout"], "Registry"]
"""Opens the registry of a home, where people look up the champion."""


@dataclass(frozen=True)
class Orchestrator:
    """The systems beside the store; None leaves one out, and the command that would ask it says so.

    Attributes:
        witnesses: Asked by `audit trace`.
        registry: Follows the ledger after `release rollback` and `release reconcile`.
        ui: Serves the pages of Dagster and MLflow until it is interrupted, from the two ports and
            whether they only show; gives the exit code.
    """

    witnesses: WitnessFactory | None = None
    registry: RegistryFactory | None = None
    ui: Callable[[int | None, int | None, bool], int] | None = None


def orchestrator_of(context: typer.Context) -> Orchestrator:
    """What the command line was built with."""
    return context.find_object(Orchestrator) or Orchestrator()
