"""Keys of people: Ed25519 (RFC 8032), the private half in a PEM file that only its owner can read,
the public half beside it.

A key is named in statements and trust files by its id, the SHA-256 of the public key as DER
(SubjectPublicKeyInfo), so that anybody can recompute it: `openssl pkey -pubin -in NAME.pub -outform
DER | sha256sum`.
"""

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from plumbline.errors import SignatureRefused
from plumbline.records import sha256

DEFAULT_FOLDER: Final = "~/.config/plumbline/keys"
LEAST_PASSPHRASE: Final = 8

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def keys_folder() -> Path:
    """The folder of a person's own keys: PLUMBLINE_KEYS, or `~/.config/plumbline/keys`."""
    return Path(os.environ.get("PLUMBLINE_KEYS") or DEFAULT_FOLDER).expanduser()


def create_key(folder: Path, name: str, passphrase: bytes | None = None) -> str:
    """Make a key pair `NAME.pem` (readable by its owner alone) and `NAME.pub`; returns the id of
    the key.

    Args:
        folder: Folder of the keys; made when it is missing.
        name: Name of the key files.
        passphrase: Encrypts the private key; None leaves it readable for whoever reads the file.

    Raises:
        SignatureRefused: If the name cannot be used, is taken, or the passphrase is too short.
    """
    private_file, public_file = _files(folder, name)
    if passphrase is not None and len(passphrase) < LEAST_PASSPHRASE:
        raise SignatureRefused(
            f"the passphrase of key '{name}' has {len(passphrase)} bytes; use {LEAST_PASSPHRASE} or"
            " more"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    encryption = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase)
    )
    try:
        _write_new(
            private_file,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            ),
            0o600,
        )
    except FileExistsError:
        raise SignatureRefused(
            f"{private_file}: there is a key of this name already, and keys are never overwritten;"
            " choose another name"
        ) from None
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    public_file.unlink(missing_ok=True)  # left over from a private key that was taken away
    _write_new(public_file, public, 0o644)
    return key_id(key.public_key())


def own_keys(folder: Path) -> dict[str, str]:
    """Name to id of every key of a folder whose public half can be read, sorted by name."""
    return {
        path.stem: key_id(read_public_key(path.with_suffix(".pub").read_text()))
        for path in sorted(folder.glob("*.pem"))
        if _NAME.fullmatch(path.stem)
    }


def load_private_key(folder: Path, name: str, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """The private key of a name.

    Raises:
        SignatureRefused: If it is missing, readable by others, no Ed25519 key, or the passphrase is
            missing or wrong.
    """
    path, _ = _files(folder, name)
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        known = ", ".join(own_keys(folder)) or "none"
        raise SignatureRefused(
            f"{path}: there is no such key; there are: {known}. `plumbline release key create"
            f" {name}`"
            " makes one"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise SignatureRefused(
            f"{path}: others can read this private key (mode {stat.S_IMODE(mode):o}), so it proves"
            " nothing; run `chmod 600` and make a new one"
        )
    if passphrase is None and needs_passphrase(folder, name):
        raise SignatureRefused(f"{path}: is protected; give its passphrase with --passphrase-file")
    try:
        key = load_pem_private_key(content, passphrase if needs_passphrase(folder, name) else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureRefused(
            f"{path}: cannot be opened: the passphrase is wrong, or the file is no private key"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureRefused(
            f"{path}: is not an Ed25519 key; make one with `plumbline release key create`"
        )
    return key


def needs_passphrase(folder: Path, name: str) -> bool:
    """True when the private key of a name is encrypted; False when it is not, or is not there."""
    path, _ = _files(folder, name)
    return path.is_file() and b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()


def read_public_key(text: str) -> Ed25519PublicKey:
    """The public key that a text holds: PEM, or the one line of base64 that stands in it.

    Raises:
        SignatureRefused: If it is not an Ed25519 public key.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    try:
        if any("PRIVATE KEY" in line for line in lines):
            raise ValueError("it is a private key, which must not leave its owner")
        encoded = "".join(line for line in lines if not line.startswith("-----"))
        key = load_der_public_key(base64.b64decode(encoded, validate=True))
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("it is a key of another kind")
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise SignatureRefused(
            f"not an Ed25519 public key ({error}); give the content of NAME.pub, or the file itself"
        ) from error
    return key


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as one line of base64, as a trust file holds it."""
    return base64.b64encode(_der(key)).decode()


def key_id(key: Ed25519PublicKey) -> str:
    """`sha256:<hex>` of the public key as DER."""
    return sha256(_der(key))


def _der(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    if not _NAME.fullmatch(name):
        raise SignatureRefused(
            f"'{name}' is no name for a key; use at most 64 lower-case letters, digits, '.', '_'"
            " and '-', for example alice"
        )
    return folder / f"{name}.pem", folder / f"{name}.pub"


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that did not exist, with its rights set before the first byte."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
