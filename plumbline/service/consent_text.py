"""The consent text that annotators see, as a versioned file in configs/consent/."""

from datetime import datetime, timedelta
from pathlib import Path

from pydantic import Field

from plumbline.errors import ConfigError
from plumbline.profile.profile import CONFIGS
from plumbline.records import Record
from plumbline.schema.feedback import Consent
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.rubric import Rubric
from plumbline.strict_yaml import load_record


class ConsentText(Record):
    """What an annotator agrees to; another wording is another version."""

    version: Identifier
    title: Text
    text: tuple[Text, ...] = Field(min_length=1, description="paragraphs")
    days: int | None = Field(
        description="days after which a judgment may no longer be used; null: no end is agreed"
    )

    def given(self, time: datetime) -> Consent:
        """The consent that goes with a judgment of this time."""
        return Consent(
            scope="training",
            version=self.version,
            expires=None if self.days is None else time + timedelta(days=self.days),
        )


def load_consent_text(rubric: Rubric, configs: Path = CONFIGS) -> ConsentText:
    """The text of the first consent version of the rubric that has one.

    Raises:
        ConfigError: If no version that the rubric admits has a text, or the file is invalid or
            names another version.
    """
    folder = configs / "consent"
    for version in rubric.consent:
        path = folder / f"{version}.yaml"
        if path.is_file():
            text = load_record(path, ConsentText)
            if text.version != version:
                raise ConfigError(
                    f"{path}:1: version: the file is called '{version}' but names itself"
                    f" '{text.version}'; make them equal"
                )
            return text
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
    raise ConfigError(
        f"rubric {rubric.label} admits judgments under the consent versions"
        f" {', '.join(rubric.consent)}, and {folder} has the text of none of them (it has:"
        f" {known}). Add a version that has a text to `consent` of the rubric, or write"
        f" {folder / rubric.consent[0]}.yaml"
    )
