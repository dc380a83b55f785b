"""Envelopes, keys and trust: only the exact bytes that a trusted key signed are read as a
statement."""

import base64
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from plumbline.errors import SignatureRefused
from plumbline.records import canonical_json, sha256
from plumbline.release.signing.envelopes import (
    PAYLOAD_TYPE,
    open_envelope,
    pre_authentication_encoding,
    read_unverified,
    sign,
)
from plumbline.release.signing.keys import (
    create_key,
    key_id,
    load_private_key,
    own_keys,
    read_public_key,
)
from plumbline.release.signing.statements import STATEMENTS, Approval, to_payload
from plumbline.release.signing.trust import Trust
from tests.unit.release.signing.signing_world import NOW

DIGESTS = {
    name: sha256(name.encode()) for name in ("candidate", "decision", "policy", "ledger", "trust")
}
APPROVAL = Approval(**DIGESTS, by="Ana", reason="better everywhere", at=NOW)


def envelope(
    payload: bytes, key: ed25519.Ed25519PrivateKey, payload_type: str = PAYLOAD_TYPE
) -> bytes:
    """An envelope over any payload, as somebody with a key could make it."""
    signature = base64.b64encode(
        key.sign(pre_authentication_encoding(payload_type, payload))
    ).decode()
    signatures = [{"keyid": key_id(key.public_key()), "sig": signature}]
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": signatures,
        }
    )


def test_what_is_signed_follows_the_published_example() -> None:
    """The example of the DSSE protocol, version 1: payload `hello world` of type
    `http://example.com/HelloWorld`."""
    assert (
        pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_statement_comes_back_with_the_person_of_the_key(keys: Path, trust: Trust) -> None:
    opened = open_envelope(sign(APPROVAL, load_private_key(keys, "ana")), trust)
    assert (opened.statement, opened.person, opened.key) == (APPROVAL, "Ana", own_keys(keys)["ana"])


def test_the_statement_is_an_in_toto_statement() -> None:
    value = json.loads(to_payload(APPROVAL))
    assert (value["_type"], value["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "urn:plumbline:approval:v1",
    )
    assert value["subject"][0] == {
        "name": "candidate",
        "digest": {"sha256": DIGESTS["candidate"][7:]},
    }
    assert set(value) == {"_type", "subject", "predicateType", "predicate"}


@pytest.mark.skipif(
    not (shutil.which("openssl") and shutil.which("jq")),
    reason="needs openssl and jq, which know nothing of us (Debian: apt install openssl jq)",
)
def test_the_commands_of_the_page_verify_a_signature(keys: Path, tmp_path: Path) -> None:
    """The block of docs/releasing.md is run as it stands there, on an envelope of Ana's."""
    page = (Path(__file__).parents[4] / "docs" / "releasing.md").read_text()
    (block,) = [block for block in page.split("```")[1::2] if "openssl pkeyutl" in block]
    (tmp_path / "envelope.json").write_bytes(sign(APPROVAL, load_private_key(keys, "ana")))
    shutil.copy(keys / "ana.pub", tmp_path / "rita.pub")
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Verified Successfully" in done.stdout
    assert own_keys(keys)["ana"].removeprefix("sha256:") in done.stdout
    (tmp_path / "envelope.json").write_bytes(sign(APPROVAL, load_private_key(keys, "eve")))
    forged = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block], cwd=tmp_path, capture_output=True, text=True
    )
    assert forged.returncode != 0


def edited(name: str, content: bytes, keys: Path) -> bytes:
    value = json.loads(content)
    signature = value["signatures"][0]
    payload = base64.b64decode(value["payload"])
    flipped = bytearray(base64.b64decode(signature["sig"]))
    flipped[0] ^= 1
    ana, eve = load_private_key(keys, "ana"), load_private_key(keys, "eve")
    said = json.loads(payload)
    other = APPROVAL.model_copy(update={"candidate": sha256(b"other")})
    return {
        "a changed reason": lambda: canonical_json(
            value | {"payload": base64.b64encode(payload.replace(b"better", b"worse!")).decode()}
        ),
        "a flipped bit": lambda: canonical_json(
            value | {"signatures": [signature | {"sig": base64.b64encode(flipped).decode()}]}
        ),
        "the key of somebody else": lambda: canonical_json(
            value | {"signatures": [signature | {"keyid": own_keys(keys)["abe"]}]}
        ),
        "signed by a stranger": lambda: sign(APPROVAL, eve),
        "a stranger under a trusted name": lambda: canonical_json(
            value
            | {
                "signatures": [
                    {
                        "keyid": own_keys(keys)["ana"],
                        "sig": json.loads(sign(APPROVAL, eve))["signatures"][0]["sig"],
                    }
                ]
            }
        ),
        "the payload of another statement": lambda: canonical_json(
            value | {"payload": json.loads(sign(other, ana))["payload"]}
        ),
        "two signatures": lambda: canonical_json(value | {"signatures": [signature, signature]}),
        "no signature": lambda: canonical_json(value | {"signatures": []}),
        "another payload type": lambda: envelope(payload, ana, "application/json"),
        "a space more": lambda: content.replace(b":", b": ", 1),
        "a key twice": lambda: content.replace(b"{", b'{"payload":"",', 1),
        "a field more": lambda: canonical_json(value | {"note": "x"}),
        "base64 of another length": lambda: canonical_json(
            value | {"payload": value["payload"] + "="}
        ),
        "no JSON": lambda: content[:-20],
        "nothing": lambda: b"",
        "too long": lambda: content + b" " * 2**23,
        "signed, another subject": lambda: envelope(canonical_json(said | {"subject": []}), ana),
        "signed, an unknown predicate": lambda: envelope(
            canonical_json(said | {"predicateType": "urn:plumbline:blessing:v1"}), ana
        ),
        "signed, a review's type": lambda: envelope(
            canonical_json(said | {"predicateType": "urn:plumbline:review:v1"}), ana
        ),
        "signed, not canonical": lambda: envelope(payload.replace(b":", b": ", 1), ana),
        "signed, a field nobody reads": lambda: envelope(
            canonical_json(said | {"predicate": said["predicate"] | {"also": 1}}), ana
        ),
        "signed, no time zone": lambda: envelope(
            canonical_json(said | {"predicate": said["predicate"] | {"at": "2026-05-04T12:00:00"}}),
            ana,
        ),
        "signed, a blank reason": lambda: envelope(
            canonical_json(said | {"predicate": said["predicate"] | {"reason": " "}}), ana
        ),
        "signed, no object": lambda: envelope(b"[]\n", ana),
        "signed, a deep nest": lambda: envelope(b"[" * 100_000, ana),
    }[name]()


EDITS = {
    "a changed reason": "the signature is not one of Ana's key",
    "a flipped bit": "the signature is not one of Ana's key",
    "the key of somebody else": "the signature is not one of Abe's key",
    "signed by a stranger": "which the trust file does not name",
    "a stranger under a trusted name": "the signature is not one of Ana's key",
    "the payload of another statement": "the signature is not one of Ana's key",
    "two signatures": "not a DSSE envelope with one signature",
    "no signature": "not a DSSE envelope with one signature",
    "another payload type": "its payload type is not",
    "a space more": "not in canonical form",
    "a key twice": "stands twice",
    "a field more": "not in canonical form",
    "base64 of another length": "not a DSSE envelope",
    "no JSON": "not a DSSE envelope",
    "nothing": "not a DSSE envelope",
    "too long": "more than 4 MiB",
    "signed, another subject": "its subjects disagree",
    "signed, an unknown predicate": "no review, approval, override or rollback of this version",
    "signed, a review's type": "no valid statement: cases: Field required",
    "signed, not canonical": "not in canonical form",
    "signed, a field nobody reads": "also: Extra inputs are not permitted",
    "signed, no time zone": "at: Input should have timezone info",
    "signed, a blank reason": "reason: is blank",
    "signed, no object": "no review, approval",
    "signed, a deep nest": "no statement",
}


@pytest.mark.threat("G3")
@pytest.mark.parametrize("name", EDITS)
def test_anything_but_the_signed_bytes_of_a_trusted_key_is_refused(
    name: str, keys: Path, trust: Trust
) -> None:
    """Half of these carry a good signature of a trusted key: whoever may sign can still not state
    what nobody defined."""
    content = edited(name, sign(APPROVAL, load_private_key(keys, "ana")), keys)
    with pytest.raises(SignatureRefused, match=EDITS[name]):
        open_envelope(content, trust)


def test_an_unverified_statement_names_its_key(keys: Path) -> None:
    assert read_unverified(sign(APPROVAL, load_private_key(keys, "eve"))) == (
        APPROVAL,
        own_keys(keys)["eve"],
    )


def test_every_statement_has_a_type_and_an_action_of_its_own() -> None:
    assert len({model.ACTION for model in STATEMENTS.values()}) == len(STATEMENTS)
    assert [name.split(":")[2] for name in STATEMENTS] == [
        model.ACTION for model in STATEMENTS.values()
    ]


def test_a_private_key_is_its_owners_alone(keys: Path) -> None:
    assert [stat.S_IMODE((keys / name).stat().st_mode) for name in ("ana.pem", "ana.pub")] == [
        0o600,
        0o644,
    ]
    (keys / "ana.pem").chmod(0o640)
    with pytest.raises(SignatureRefused, match="others can read this private key \\(mode 640\\)"):
        load_private_key(keys, "ana")


def test_a_new_folder_is_closed_and_a_key_is_never_overwritten(keys: Path) -> None:
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    before = (keys / "ana.pem").read_bytes()
    with pytest.raises(SignatureRefused, match="keys are never overwritten"):
        create_key(keys, "ana")
    assert (keys / "ana.pem").read_bytes() == before


@pytest.mark.threat("S2")
@pytest.mark.parametrize("name", ["../ana", "/tmp/ana", "", "Ana", "a b", ".hidden", "a" * 65])
def test_a_key_name_is_no_path(keys: Path, name: str) -> None:
    for use in (create_key, load_private_key):
        with pytest.raises(SignatureRefused, match="is no name for a key"):
            use(keys, name)


def test_a_link_in_place_of_a_key_is_not_followed(keys: Path, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", keys / "zoe.pem")
    with pytest.raises(SignatureRefused, match="never overwritten"):
        create_key(keys, "zoe")
    assert not (tmp_path / "elsewhere").exists()


def test_a_passphrase_is_needed_and_checked(keys: Path) -> None:
    create_key(keys, "vera", b"correct horse")
    assert b"ENCRYPTED" in (keys / "vera.pem").read_bytes()
    with pytest.raises(SignatureRefused, match="is protected"):
        load_private_key(keys, "vera")
    with pytest.raises(SignatureRefused, match="the passphrase is wrong"):
        load_private_key(keys, "vera", b"wrong horse")
    assert (
        key_id(load_private_key(keys, "vera", b"correct horse").public_key())
        == own_keys(keys)["vera"]
    )
    with pytest.raises(SignatureRefused, match="use 8 or more"):
        create_key(keys, "weak", b"short")
    assert "weak" not in own_keys(keys)


def test_keys_of_other_kinds_are_refused(keys: Path) -> None:
    other = x25519.X25519PrivateKey.generate()
    path = keys / "other.pem"
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(SignatureRefused, match="is not an Ed25519 key"):
        load_private_key(keys, "other")
    with pytest.raises(SignatureRefused, match="a key of another kind"):
        read_public_key(
            other.public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )
    path.write_bytes(b"no key")
    with pytest.raises(SignatureRefused, match="cannot be opened"):
        load_private_key(keys, "other")
