"""Signatures: DSSE envelopes (Dead Simple Signing Envelope v1) with exactly one Ed25519 signature
of one trusted key.

What is signed is `DSSEv1 <length> <payload type> <length> <payload>`, so neither the type nor the
payload can be exchanged. The digest of an envelope is the SHA-256 of its canonical bytes, and only
canonical bytes are accepted: one signature has one envelope and one digest.
"""

import base64
import binascii
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plumbline.errors import SignatureRefused
from plumbline.records import canonical_json, parse_json, sha256
from plumbline.release.signing.keys import key_id, read_public_key
from plumbline.release.signing.statements import AnyStatement, Statement, from_payload, to_payload
from plumbline.release.signing.trust import Trust

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_BYTES: Final = 4 * 2**20
"""Largest envelope that is read."""


class Opened(NamedTuple):
    """A statement whose signature verifies under a key of the trust file."""

    statement: AnyStatement
    key: str
    """Id of the key."""
    person: str
    """Whose key it is, by the trust file."""


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature covers."""
    # PAE of DSSE v1: each part stands behind its length in bytes, so that no two pairs of type and
    # payload give the same signed bytes
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(statement: Statement, key: Ed25519PrivateKey) -> bytes:
    """The envelope of a statement, as canonical JSON."""
    payload = to_payload(statement)
    signature = key.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    return _envelope(payload, key_id(key.public_key()), signature)


def open_envelope(envelope: bytes, trust: Trust) -> Opened:
    """The statement of an envelope.

    Args:
        envelope: The bytes of the envelope.
        trust: Whose keys count.

    Raises:
        SignatureRefused: If the envelope was edited, is signed with a key that the trust file does
            not name, or holds no statement; says which.
    """
    payload, identifier, signature = _parts(envelope)
    owner = trust.owner_of(identifier)
    if owner is None:
        raise SignatureRefused(
            f"it is signed with key {identifier}, which the trust file does not name"
        )
    name, person = owner
    try:
        read_public_key(person.keys[identifier]).verify(
            signature, pre_authentication_encoding(PAYLOAD_TYPE, payload)
        )
    except InvalidSignature:
        raise SignatureRefused(
            f"the signature is not one of {name}'s key over this statement: it was edited, or"
            " somebody else made it"
        ) from None
    return Opened(from_payload(payload), identifier, name)


def read_unverified(envelope: bytes) -> tuple[AnyStatement, str]:
    """The statement of an envelope and the id of the key that is said to have signed it; nothing
    says that this is true.

    Raises:
        SignatureRefused: If it is no envelope with a statement.
    """
    payload, identifier, _ = _parts(envelope)
    return from_payload(payload), identifier


def envelope_digest(envelope: bytes) -> str:
    """`sha256:<hex>` of an envelope, under which it is stored and entered in the ledger."""
    return sha256(envelope)


def _envelope(payload: bytes, identifier: str, signature: bytes) -> bytes:
    signatures = [{"keyid": identifier, "sig": base64.b64encode(signature).decode()}]
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": signatures,
        }
    )


def _parts(envelope: bytes) -> tuple[bytes, str, bytes]:
    """Payload, key id and signature of an envelope in canonical form."""
    try:
        if len(envelope) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES // 2**20} MiB")
        value: Any = parse_json(envelope)
        if value["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(f"its payload type is not {PAYLOAD_TYPE}")
        (signature,) = value["signatures"]
        payload, identifier, raw = (
            base64.b64decode(value["payload"], validate=True),
            str(signature["keyid"]),
            base64.b64decode(signature["sig"], validate=True),
        )
        # base64 and JSON can be written in many ways: one signature has one digest in the ledger
        if _envelope(payload, identifier, raw) != envelope:
            raise ValueError("it is not in canonical form")
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise SignatureRefused(f"it is not a DSSE envelope with one signature: {error}") from error
    return payload, identifier, raw
