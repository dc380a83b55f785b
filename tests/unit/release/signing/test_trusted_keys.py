"""Which keys are trusted, and every ambiguous list of them is refused."""

from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from plumbline.errors import SignatureRefused
from plumbline.records import canonical_json
from plumbline.release.signing.keys import (
    public_text,
    read_public_key,
)
from plumbline.release.signing.trust import Trust, load_trust


def test_a_public_key_is_read_from_its_file_and_from_its_line(keys: Path) -> None:
    text = (keys / "ana.pub").read_text()
    key = read_public_key(text)
    assert (
        public_text(read_public_key(public_text(key))) == public_text(key) == text.splitlines()[1]
    )
    with pytest.raises(InvalidSignature):
        key.verify(b"\x00" * 64, b"anything")
    with pytest.raises(SignatureRefused, match="it is a private key"):
        read_public_key((keys / "ana.pem").read_text())


def test_without_a_file_nobody_is_trusted(tmp_path: Path) -> None:
    assert load_trust(tmp_path / "trust.json") == Trust(people={})


def broken_trust(name: str, trust: Trust) -> bytes:
    people = trust.model_dump(mode="json")["people"]
    ana, abe = people["Ana"], people["Abe"]
    return {
        "one key, two people": lambda: canonical_json(
            {"people": {"Ana": ana, "Abe": {**abe, "keys": ana["keys"]}}}
        ),
        "one person, two spellings": lambda: canonical_json({"people": {"Ana": ana, "ANA ": abe}}),
        "an account of somebody else": lambda: canonical_json(
            {"people": {"Ana": ana, "Abe": {**abe, "accounts": ["ana"]}}}
        ),
        "a key under another id": lambda: canonical_json(
            {
                "people": {
                    "Ana": {
                        **ana,
                        "keys": dict(zip(ana["keys"], abe["keys"].values(), strict=True)),
                    }
                }
            }
        ),
        "an unknown role": lambda: canonical_json({"people": {"Ana": {**ana, "roles": ["root"]}}}),
        "no role": lambda: canonical_json({"people": {"Ana": {**ana, "roles": []}}}),
        "no name": lambda: canonical_json({"people": {" ": ana}}),
        "a steering name": lambda: canonical_json({"people": {"Ana\x1b[2J": ana}}),
        "a person twice": lambda: trust.to_json().replace(b'"Ana":', b'"Abe":', 1),
        "a field more": lambda: canonical_json({"people": people, "everybody": True}),
        "no JSON": lambda: b"people: Ana",
    }[name]()


BROKEN = {
    "one key, two people": "belongs to both Abe and Ana",
    "one person, two spellings": "names both",
    "an account of somebody else": "names both",
    "a key under another id": "the public key has the id",
    "an unknown role": r"people\.Ana\.roles\.0",
    "no role": r"people\.Ana\.roles",
    "no name": "1 to 128 printable characters",
    "a steering name": "1 to 128 printable characters",
    "a person twice": "stands twice",
    "a field more": "everybody: Extra inputs",
    "no JSON": "not strict JSON",
}


@pytest.mark.threat("G3")
@pytest.mark.parametrize("name", BROKEN)
def test_an_ambiguous_trust_file_is_refused(name: str, trust: Trust, tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_bytes(broken_trust(name, trust))
    with pytest.raises(SignatureRefused, match=BROKEN[name]):
        load_trust(tmp_path / "trust.json")


def test_roles_and_keys_add_up_and_a_removed_person_is_gone(trust: Trust, keys: Path) -> None:
    more = trust.with_key("Ana", (keys / "eve.pub").read_text(), ["owner"], ["amiller"])
    assert (
        more.people["Ana"].roles,
        len(more.people["Ana"].keys),
        more.people["Ana"].accounts,
    ) == (("approver", "owner"), 2, ("amiller",))
    assert "Ana" not in more.without("Ana").people
    with pytest.raises(SignatureRefused, match="nobody called 'Zoe' is trusted"):
        more.without("Zoe")
    with pytest.raises(SignatureRefused, match="root: there is no such role"):
        trust.with_key("Ana", (keys / "ana.pub").read_text(), ["root"])
