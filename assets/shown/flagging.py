"""What the checks of annotators found, in the Dagster UI."""

from typing import TYPE_CHECKING

import dagster as dg

from assets.shown.presentation import table

if TYPE_CHECKING:
    from plumbline.data.screening.annotator_quality import AnnotatorReport


def annotators_table(report: "AnnotatorReport") -> dg.TableMetadataValue:
    """One row for each annotator, with what the check is able to find."""
    return table(
        {
            "annotator": annotator.annotator,
            "status": annotator.status,
            "compared votes": annotator.compared,
            "agreement": "" if annotator.agreement is None else f"{annotator.agreement:.1%}",
            "others": "" if annotator.others is None else f"{annotator.others:.1%}",
            "power": round(annotator.power, 3),
        }
        for annotator in report.annotators
    )
