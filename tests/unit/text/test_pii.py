"""Presidio takes seconds to import, so that every test with a finding is slow."""

import gzip
import json
import subprocess
import sys

import pytest

from plumbline.text.pii import MAX_CANDIDATES, find, redact

pytestmark = pytest.mark.requirement("D16")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "kind", "datum"),
    [
        ("write to anna.b+c@mail.tum.de today", "email", "anna.b+c@mail.tum.de"),
        ("call (212) 736-5000 now", "phone", "(212) 736-5000"),
        ("my number is +49 89 2180-0", "phone", "+49 89 2180-0"),
        ("phone: 2127365000", "phone", "2127365000"),
        ("card 4111 1111 1111 1111 expires", "payment card", "4111 1111 1111 1111"),
        ("pay to DE89 3704 0044 0532 0130 00 please", "IBAN", "DE89 3704 0044 0532 0130 00"),
        ("host 8.8.8.8 answered", "IP address", "8.8.8.8"),
        ("host 2001:4860:4860::8888 answered", "IP address", "2001:4860:4860::8888"),
        ("SSN 536-90-4399 of hers", "US social security number", "536-90-4399"),
        ("NI AB 12 34 56 C on file", "UK insurance number", "AB 12 34 56 C"),
    ],
)
def test_each_kind_is_found_at_its_place_and_redacted(text, kind, datum):
    found = find(text)
    assert [(item.kind, text[item.start : item.end]) for item in found] == [(kind, datum)]
    assert redact(text) == text.replace(datum, f"[{kind}]")


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "no personal data here",
        "pi is 3.14159265358979 and 1/6 is 0.1666666667",
        "chlorine weighs 35.453996555555557",
        "order 9876543210 and the id 1234567890",
        "card 4111 1111 1111 1112 fails the checksum",
        "IBAN DE88 3704 0044 0532 0130 00 fails the checksum",
        "localhost is 127.0.0.1, the router 192.168.1.1, the version 999.1.2.3",
        "write to anna@example.org or root@localhost",
        "at 10:30:00 on 2024-05-06",
        "@anna @ben, in 2019-2021 there were 1,234,567",
    ],
)
def test_numbers_and_reserved_addresses_are_no_personal_data(text):
    assert find(text) == ()
    assert redact(text) == text


@pytest.mark.slow
def test_offensive_text_is_left_alone():
    text = "You are a damned idiot, and so is everybody like you."
    assert redact(text) == text


@pytest.mark.slow
def test_places_hold_in_long_text_and_several_are_redacted():
    text = "x" * 5000 + " anna@mail.de " + "y " * 5000 + "ben@mail.de"
    assert [text[datum.start : datum.end] for datum in find(text)] == [
        "anna@mail.de",
        "ben@mail.de",
    ]
    assert redact(text).count("[email]") == 2
    assert redact(redact(text)) == redact(text)


@pytest.mark.slow
def test_a_hostile_text_cannot_stall_the_search():
    """The patterns of presidio are quadratic in some of these; windows keep them short, and there
    is an end to the candidates."""
    for piece in (
        "!a" * 120 + "@a.b",
        "@" + "a-" * 30 + ".b",
        "1 ",
        "1.1.1.1 ",
        "123-45-6789 ",
        "DE89 3704 0044 0532 0130 01 ",
        "(212) 736-5000 ",
    ):
        find(piece * (20_000 // len(piece)))


@pytest.mark.slow
def test_what_is_too_much_to_read_counts_as_personal():
    text = "x@y.z " * MAX_CANDIDATES + " " * 300 + "anna@mail.de and all the rest"
    (datum,) = find(text)
    assert (datum.kind, datum.score, datum.end) == ("email", 0.0, len(text))
    assert (
        redact(text) == "x@y.z " * MAX_CANDIDATES + " " * 50 + "[email]"
    )  # 254 characters before the `@` of `anna@` are not kept either


def test_nothing_is_imported_for_text_without_a_candidate():
    code = (
        "import sys; from plumbline.text.pii import find\n"
        "assert find('Ordinary text of 12 words.') == ()\n"
        "assert 'presidio_analyzer' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_no_network_is_asked_for_the_list_of_suffixes():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from plumbline.text.pii import find\n"
        "assert [d.kind for d in find('anna@mail.de')] == ['email']\n"
        "assert find('anna@mail.notasuffix') == ()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_precision_on_public_text(data_folder):
    """4,493 texts of Tulu and HH hold 36 findings, read one by one: 35 have the form of a personal
    datum, one does not.

    21 e-mail addresses, 13 telephone numbers and a social security number are real in form (many
    are invented by a model); the wrong one is a numbered list, `7.  123456789`, taken for a
    telephone number. What recall is on these texts was not counted.
    """
    rows = [
        json.loads(line)
        for path in sorted((data_folder / "tulu1-human-feedback").glob("*.jsonl"))
        for line in path.open("rb")
    ]
    texts = {row[field] for row in rows for field in ("prompt", "completion_a", "completion_b")}
    with gzip.open(data_folder / "hh-rlhf-harmless" / "pairs.jsonl.gz") as stream:
        texts |= {row[field] for row in map(json.loads, stream) for field in ("chosen", "rejected")}
    found = [(datum.kind, text[datum.start : datum.end]) for text in texts for datum in find(text)]
    kinds = [kind for kind, _ in found]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "email": 21,
        "phone": 14,
        "US social security number": 1,
    }
    assert ("phone", "7.  123456789") in found
