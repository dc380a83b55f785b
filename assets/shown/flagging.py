"""Flags: what the checks of annotators found is raised for a person, and shown."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from plumbline.data.screening.annotator_quality import AnnotatorReport
    from plumbline.data.screening.flags import NewFlag
    from plumbline.data.store.database import Database


def raise_flags(database: "Database", found: "Iterable[NewFlag]", now: datetime) -> list[str]:
    """Raise what a person has not seen yet; returns it in words."""
    from plumbline.data.screening.flags import Flags, new_flags

    flags = Flags(database)
    raised = [
        flags.raise_flag(one.kind, one.subject, one.evidence, now)
        for one in new_flags(found, flags.all())
    ]
    return [
        f"{flag.id}: {flag.kind}: {flag.subject}: {flag.evidence.get('message', '')}"
        for flag in raised
    ]


def annotators_table(report: "AnnotatorReport") -> dg.TableMetadataValue:
    """One row for each annotator, with what the check is able to find."""
    records = [
        dg.TableRecord(
            {
                "annotator": one.annotator,
                "status": one.status,
                "compared votes": one.compared,
                "agreement": "" if one.agreement is None else f"{one.agreement:.1%}",
                "others": "" if one.others is None else f"{one.others:.1%}",
                "power": round(one.power, 3),
            }
        )
        for one in report.annotators
    ]
    kinds = {"compared votes": "int", "power": "float"}
    columns = ("annotator", "status", "compared votes", "agreement", "others", "power")
    return dg.TableMetadataValue(
        records=records,
        schema=dg.TableSchema(
            columns=[dg.TableColumn(name, kinds.get(name, "string")) for name in columns]
        ),
    )
