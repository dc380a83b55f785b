"""Importer of Alpaca demonstrations: rows of {instruction, input, output} (Taori et al. 2023)."""

from typing import Literal

from plumbline.data.formats.fields import as_object, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Consent, Context, Provenance
from plumbline.schema.identifiers import content_id
from plumbline.schema.preferences import Demonstration

AuthorRole = Literal["annotator", "expert", "synthetic", "unknown"]
_NO_INPUT = {"", "<noinput>", "noinput", "no input"}


def alpaca_demonstration(
    value: object, attribution: Attribution, author_role: AuthorRole = "synthetic"
) -> Demonstration:
    """A demonstration; an input follows its instruction after a blank line. Alpaca's outputs were
    written by a model, hence `synthetic`.

    Raises:
        Rejected: If prompt or response is blank, or a field is missing.
    """
    row = as_object(value)
    instruction, context, output = (
        text_field(row, name).strip() for name in ("instruction", "input", "output")
    )
    if not instruction:
        raise Rejected("empty prompt")
    if not output:
        raise Rejected("empty response")
    prompt = instruction if context.casefold() in _NO_INPUT else f"{instruction}\n\n{context}"
    return Demonstration(
        id=content_id(["alpaca", prompt, output]),
        prompt=(Message(role="user", content=prompt),),
        response=output,
        author_role=author_role,
        provenance=Provenance(
            written_by="alpaca", filtered_by="unknown", approved_by=attribution.approved_by
        ),
        consent=Consent(scope="training", version=attribution.consent_version),
        context=Context(locale="en", domain="instructions", slice="unsliced"),
    )
