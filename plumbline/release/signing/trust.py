"""Trust: whose key signs, and in which role.

A trust file decides who can release a profile, so it belongs in hands other than those that train:
PLUMBLINE_TRUST names a file that is distributed and protected apart from the home. Its digest
stands in every statement and in every sign-off that was concluded with it. Without a file nobody is
trusted, and nothing is released.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from plumbline.errors import SignatureRefused
from plumbline.lineage.ledger import Ledger
from plumbline.records import Record, canonical_json, parse_json
from plumbline.release.signing.keys import key_id, public_text, read_public_key
from plumbline.storage.artifacts import write_atomically

Role = Literal["reviewer", "approver", "owner"]
"""reviewer: looks at failure cases; approver: approves a release; owner: may override gates, for a
time and with a reason."""
ROLES: tuple[Role, ...] = get_args(Role)
KIND = "trust"
"""Kind of the ledger entries about changes of a trust file."""


class TrustedPerson(Record):
    """One person, with the keys and roles of that person."""

    roles: tuple[Role, ...] = Field(min_length=1)
    keys: dict[str, str] = Field(
        min_length=1, description="id of a key to the public key, base64 of its DER"
    )
    accounts: tuple[str, ...] = Field(
        default=(),
        description=(
            "names under which this person launches runs (PLUMBLINE_PERSON, or the user of the"
            " operating system), beside the own name"
        ),
    )


class Trust(Record):
    """The people whose signatures count."""

    people: dict[str, TrustedPerson]

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        owners: dict[str, str] = {}
        names: dict[str, str] = {}
        for name, person in self.people.items():
            for known in (name, *person.accounts):
                if not known.strip() or len(known) > 128 or not known.isprintable():
                    raise ValueError(f"name {known!r}: must be 1 to 128 printable characters")
                if names.setdefault(folded(known), name) != name:
                    raise ValueError(f"'{known}' names both {names[folded(known)]} and {name}")
            for identifier, text in person.keys.items():
                try:
                    identifier_of_key = key_id(read_public_key(text))
                except SignatureRefused as error:
                    raise ValueError(f"key {identifier} of {name}: {error}") from error
                if identifier_of_key != identifier:
                    raise ValueError(
                        f"key {identifier} of {name}: the public key has the id {identifier_of_key}"
                    )
                if owners.setdefault(identifier, name) != name:
                    raise ValueError(
                        f"key {identifier} belongs to both {owners[identifier]} and {name}; a key"
                        " says who signed only if it is one person's"
                    )
        return self

    def owner_of(self, key: str) -> tuple[str, TrustedPerson] | None:
        """Name and record of the person whose key has this id, or None."""
        return next(
            ((name, person) for name, person in self.people.items() if key in person.keys), None
        )

    def with_key(
        self, name: str, public_key: str, roles: Iterable[str], accounts: Iterable[str] = ()
    ) -> "Trust":
        """This trust and one more key or further roles of a person.

        Raises:
            SignatureRefused: If the key is no Ed25519 public key or belongs to somebody else, or
                the name or a role cannot be used.
        """
        key = read_public_key(public_key)
        known = self.people.get(name)
        wanted = {*roles, *(known.roles if known else ())}
        if wanted - set(ROLES):
            raise SignatureRefused(
                f"{', '.join(sorted(wanted - set(ROLES)))}: there is no such role; there are"
                f" {', '.join(ROLES)}"
            )
        person = {
            "roles": [role for role in ROLES if role in wanted],
            "keys": {**(known.keys if known else {}), key_id(key): public_text(key)},
            "accounts": sorted({*accounts, *(known.accounts if known else ())}),
        }
        return _validated(
            {"people": {**self.model_dump(mode="json")["people"], name: person}},
            "the trust file would be invalid",
        )

    def without(self, name: str) -> "Trust":
        """This trust without a person: no signature of that person counts any more.

        Raises:
            SignatureRefused: If nobody of this name is trusted.
        """
        if name not in self.people:
            raise SignatureRefused(
                f"nobody called '{name}' is trusted; there are: {', '.join(self.people) or 'none'}"
            )
        return Trust(
            people={other: person for other, person in self.people.items() if other != name}
        )


def folded(name: str) -> str:
    """A name as it is compared: compatibility forms, case and outer spaces make no other person."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def load_trust(path: Path) -> Trust:
    """The trust of a file; nobody when there is none.

    Raises:
        SignatureRefused: If the file cannot be read or is invalid.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Trust(people={})
    except OSError as error:
        raise SignatureRefused(
            f"{path}: the trust file cannot be read: {error.strerror}"
        ) from error
    try:
        value = parse_json(content)
    except ValueError as error:
        raise SignatureRefused(
            f"{path}: the trust file is not strict JSON: {error}; restore it from a copy"
        ) from error
    return _validated(value, str(path))


def save_trust(path: Path, trust: Trust, before: Trust, ledger: Ledger, change: str) -> None:
    """Write a trust file and enter in the ledger what changed; the digest of the trust is the
    SHA-256 of the file."""
    write_atomically(path, trust.to_json())
    path.chmod(0o644)
    body = {"change": change, "file": str(path), "before": before.digest(), "after": trust.digest()}
    ledger.append(KIND, f"{trust.digest()} after {ledger.head()}", body)


def _validated(value: object, where: str) -> Trust:
    try:
        return Trust.from_json(canonical_json(value))
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'trust file'}:"
            f" {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise SignatureRefused(f"{where}: {reasons}") from error
