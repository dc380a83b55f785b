"""The report page of a certificate: what was checked, what was found, and the numbers of the data,
for people.

One HTML file beside the certificates. Data and suites are text from outside: everything is escaped,
characters without a look of their own are written out, and the page itself may load and run nothing
(its content security policy allows its one style and no more).
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined, Template

from plumbline.data.quality.certificate import Certificate
from plumbline.schema.suites import Suite
from plumbline.storage.artifacts import write_atomically
from plumbline.text.unsafe_characters import visible

Statistics = Mapping[str, Mapping[str, object]]
"""Numbers and words of the data by section, each with its name."""
MAX_TEXT = 2_000
"""Characters of a failing row's text that are shown."""

_TEMPLATES: Final = Path(__file__).parent / "templates"


def report_page(
    suite: Suite,
    certificate: Certificate,
    statistics: Statistics,
    rows: Mapping[str, Mapping[str, str]],
) -> str:
    """The page as HTML; the same arguments give the same bytes.

    Args:
        suite: What was expected.
        certificate: What was found.
        statistics: Sections of numbers about the data.
        rows: Text of rows that break an expectation, by their id and then by field.
    """
    checks = {check.id: check for check in certificate.checks}
    style = _read("certificate.css")
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(
        suite=suite,
        certificate=certificate,
        checks=checks,
        statistics=statistics,
        rows=rows,
        style=style,
        style_hash=f"sha256-{style_hash}",
    )


def write_report(
    store_root: Path,
    suite: Suite,
    certificate: Certificate,
    statistics: Statistics,
    rows: Mapping[str, Mapping[str, str]],
) -> Path:
    """Write the page to `<store>/reports/<data>-<suite>.html`, beside the certificate of the same
    name; returns where it is."""
    names = [digest.removeprefix("sha256:") for digest in (certificate.data, certificate.suite)]
    path = store_root / "reports" / f"{'-'.join(names)}.html"
    write_atomically(path, report_page(suite, certificate, statistics, rows).encode())
    return path


def failing_rows(
    certificate: Certificate, concern: Sequence[str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Examples of the rows that break an expectation, by expectation; only these expectations, or
    all."""
    return {
        check.id: check.examples
        for check in certificate.checks
        if check.examples and (concern is None or check.id in concern)
    }


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"visible": visible, "shortened": _shortened}
    return environment.from_string(_read("certificate.html"))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text)} characters)"


@cache
def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
