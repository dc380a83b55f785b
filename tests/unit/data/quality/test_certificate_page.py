"""The report page: everything that a data author can write is shown as text, and the page can load
and run nothing."""

import base64
import hashlib
import html.parser
import re

import pytest

from plumbline.data.quality.certificate import CheckResult, certify
from plumbline.data.quality.certificate_page import report_page, write_report
from plumbline.records import sha256
from plumbline.schema.suites import Expectation, Suite
from plumbline.text.unsafe_characters import visible

ATTACKS = [
    "<script>document.title='hacked'</script>",
    "<img src=x onerror=alert(1)>",
    "</style><svg onload=alert(1)>",
    "\"><a href='javascript:alert(1)'>x</a>",
    "{{ 7 * 7 }} {% for x in y %}",
    "<iframe src=//evil.example></iframe>",
]
SUITE = Suite(
    name="pairs",
    minimum_rows=1,
    expectations=tuple(
        Expectation(
            id=f"e-{number}", concern=f"concern_{number % 2}", type="expect_x", reason=attack
        )
        for number, attack in enumerate(ATTACKS)
    ),
)


class Page(html.parser.HTMLParser):
    """Tags, attributes and text as a browser sees them."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def certificate(status="fail"):
    checks = [
        CheckResult(
            id=one.id,
            status=status,
            observed=attack,
            examined=9,
            unexpected=1,
            examples=(attack,),
            message=attack,
        )
        for one, attack in zip(SUITE.expectations, ATTACKS, strict=True)
    ]
    return certify(sha256(b"data"), SUITE, 9, checks)


def hostile_page():
    statistics = {attack: {attack: attack} for attack in ATTACKS}
    rows = {attack: {"prompt": attack, "chosen": attack} for attack in ATTACKS}
    return report_page(SUITE, certificate(), statistics, rows)


@pytest.mark.threat("S1")
def test_what_data_authors_write_is_text():
    page = Page(hostile_page())
    assert page.tags == {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "table",
        "tr",
        "th",
        "td",
        "pre",
        "code",
        "span",
        "br",
    }
    assert {name for _, name, _ in page.attributes} == {
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
    }
    assert {value for _, name, value in page.attributes if name == "class"} == {"fail"}
    for attack in ATTACKS:
        assert (
            page.text.count(attack) >= 8
        )  # message, observed, example, reason, statistics (3 times), row


def test_the_policy_of_the_page_allows_its_own_style_and_nothing_else():
    source = hostile_page()
    policy = next(
        value
        for tag, name, value in Page(source).attributes
        if (tag, name) == ("meta", "content") and "default-src" in value
    )
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert (
        policy
        == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_characters_that_hide_are_written_out():
    assert visible("a\u200bb\u202ec\x07\U000e0041\n") == "a⟨U+200B⟩b⟨U+202E⟩c⟨U+0007⟩⟨U+E0041⟩\n"
    assert visible("ordinary text, ñ 你好 🙂") == "ordinary text, ñ 你好 🙂"


def test_the_page_stands_beside_the_certificate_and_is_the_same_every_time(tmp_path):
    found = certificate("pass")
    path = write_report(tmp_path, SUITE, found, {"counts": {"pairs": 9}}, {})
    assert path == tmp_path / "reports" / f"{found.data[7:]}-{found.suite[7:]}.html"
    first = path.read_bytes()
    write_report(tmp_path, SUITE, found, {"counts": {"pairs": 9}}, {})
    assert path.read_bytes() == first


def test_the_page_says_what_was_checked_and_found():
    text = Page(
        report_page(
            SUITE, certificate(), {"counts": {"pairs": 9}}, {"row-1": {"chosen": "x" * 3000}}
        )
    ).text
    for words in (
        "Certificate of pairs: fail",
        "concern_0",
        "concern_1",
        "e-5",
        "counts",
        "row-1",
        "... (3000 characters)",
        certificate().digest(),
    ):
        assert words in text, words
