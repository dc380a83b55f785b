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

from jinja2 import Environment, StrictUndefined, Template

from plumbline.data.quality.certificate import Certificate
from plumbline.schema.suites import Suite
from plumbline.storage.artifacts import write_atomically
from plumbline.text.unsafe_characters import visible

Statistics = Mapping[str, Mapping[str, object]]
"""Numbers and words of the data by section, each with its name."""
MAX_TEXT = 2_000
"""Characters of a failing row's text that are shown."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1b1f; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem }
th, td { border-bottom: 1px solid #d9d9e0; padding: .3rem .6rem; text-align: left; vertical-align: top; overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: .9rem/1.4 ui-monospace, monospace }
.pass { color: #0a6640 } .fail, .error { color: #b00020; font-weight: 600 }
code { font: .85rem ui-monospace, monospace; overflow-wrap: anywhere }
"""
_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{{ style_hash }}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ suite.name | visible }}: {{ certificate.verdict }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<h1>Certificate of <code>{{ suite.name | visible }}</code>: <span class="{{ certificate.verdict }}">{{ certificate.verdict }}</span></h1>
<table>
<tr><th>data</th><td><code>{{ certificate.data }}</code></td></tr>
<tr><th>suite</th><td><code>{{ certificate.suite }}</code></td></tr>
<tr><th>certificate</th><td><code>{{ certificate.digest() }}</code></td></tr>
<tr><th>rows</th><td>{{ certificate.rows }} (at least {{ certificate.minimum_rows }})</td></tr>
</table>
{% for concern, expectations in suite.concerns.items() %}
<h2>{{ concern | visible }}</h2>
<table>
<tr><th>expectation</th><th>status</th><th>observed</th><th>rows</th><th>found</th><th>why it matters</th></tr>
{% for expectation in expectations %}{% set check = checks[expectation.id] %}
<tr><td>{{ expectation.id | visible }}</td><td class="{{ check.status }}">{{ check.status }}</td><td>{{ check.observed | visible }}</td>
<td>{{ check.examined }}</td><td>{{ check.message | visible }}{% if check.examples %}<br>rows: {{ check.examples | join(", ") | visible }}{% endif %}</td>
<td>{{ expectation.reason | visible }}</td></tr>
{% endfor %}
</table>
{% endfor %}
{% for title, numbers in statistics.items() if numbers %}
<h2>{{ title | visible }}</h2>
<table>
{% for name, value in numbers.items() %}
<tr><th>{{ name | visible }}</th><td>{{ value | visible }}</td></tr>
{% endfor %}
</table>
{% endfor %}
{% if rows %}
<h2>Rows that break an expectation</h2>
{% for name, texts in rows.items() %}
<table>
<tr><th>row</th><td><code>{{ name | visible }}</code></td></tr>
{% for field, text in texts.items() %}
<tr><th>{{ field | visible }}</th><td><pre>{{ text | shortened | visible }}</pre></td></tr>
{% endfor %}
</table>
{% endfor %}
{% endif %}
</body>
</html>
"""


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
    return _template().render(
        suite=suite,
        certificate=certificate,
        checks=checks,
        statistics=statistics,
        rows=rows,
        style=_STYLE,
        style_hash=_style_hash(),
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
    return environment.from_string(_TEMPLATE)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text)} characters)"


def _style_hash() -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}"
