"""Campaigns: closed sets of red-team attempts, one file each below the folder of the profile,
pinned by the ledger.

`<home>/profiles/<profile>/campaigns/<name>.jsonl` holds the attempts as canonical JSONL. The ledger
has the digest of each, so that a file that somebody changed is found before anything is computed
from it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from plumbline.data.readers.rows import file_digest
from plumbline.errors import DataError, DigestMismatch, LedgerConflict
from plumbline.evaluation.red_team.attempts import Attempt, read_attempts
from plumbline.lineage.ledger import Ledger
from plumbline.records import sha256
from plumbline.schema.identifiers import Identifier
from plumbline.storage.artifacts import write_atomically
from plumbline.storage.home import HomeLayout
from plumbline.storage.jsonl import read_records

KIND: Final = "red-team-campaign"
"""Kind of the ledger entry of a campaign; its key is `<profile>/<name>`."""


class Added(NamedTuple):
    """A campaign that was taken in."""

    name: str
    digest: str
    attempts: tuple[Attempt, ...]
    new: bool
    """False when the same campaign was taken in before."""


def campaigns_folder(layout: HomeLayout) -> Path:
    """Where the campaigns of a profile are."""
    return layout.profile_folder / "campaigns"


def campaign_names(layout: HomeLayout) -> tuple[str, ...]:
    """The campaigns of a profile, sorted."""
    return tuple(sorted(path.stem for path in campaigns_folder(layout).glob("[!.]*.jsonl")))


def add_campaign(layout: HomeLayout, ledger: Ledger, name: str, path: Path) -> Added:
    """Take in a file of attempts as a closed campaign; the same file again changes nothing.

    Raises:
        DataError: If the name is no identifier or names another campaign, a row is wrong, or an
            attempt stands in an earlier campaign.
    """
    return add_attempts(layout, ledger, name, read_attempts(path))


def add_attempts(
    layout: HomeLayout, ledger: Ledger, name: str, attempts: tuple[Attempt, ...]
) -> Added:
    """The same for attempts in memory."""
    _check_name(name)
    for other in campaign_names(layout):
        if other != name and (
            repeated := {attempt.id for attempt in read_campaign(layout, ledger, other)}
            & {attempt.id for attempt in attempts}
        ):
            raise DataError(
                f"campaign '{name}': {len(repeated)} attempts stand in campaign '{other}' already,"
                f" for example {min(repeated)}; leave them out"
            )
    content = b"".join(
        attempt.to_json() for attempt in sorted(attempts, key=lambda attempt: attempt.id)
    )
    digest, target = sha256(content), campaigns_folder(layout) / f"{name}.jsonl"
    new = not target.exists()
    try:
        # first the ledger: a file without an entry would be a campaign that nothing pins
        ledger.append(
            KIND,
            f"{layout.profile}/{name}",
            {
                "digest": digest,
                "attempts": len(attempts),
                "successes": sum(attempt.success for attempt in attempts),
            },
        )
    except LedgerConflict as error:
        raise DataError(
            f"campaign '{name}' was taken in with other attempts; a campaign is closed when it is"
            " added: give the new attempts a new name"
        ) from error
    if new:
        write_atomically(target, content)
    else:
        read_campaign(layout, ledger, name)
    return Added(name, digest, attempts, new)


def read_campaign(layout: HomeLayout, ledger: Ledger, name: str) -> tuple[Attempt, ...]:
    """The attempts of a campaign, sorted by id.

    Raises:
        DataError: If there is no such campaign.
        DigestMismatch: If its file is not the one that was taken in.
    """
    _check_name(name)
    path = campaigns_folder(layout) / f"{name}.jsonl"
    if not path.is_file():
        known = ", ".join(campaign_names(layout)) or "there is none yet"
        raise DataError(
            f"there is no campaign '{name}' in profile '{layout.profile}'; `plumbline evaluate"
            " redteam add`"
            f" takes one in ({known})"
        )
    entry = ledger.find(KIND, f"{layout.profile}/{name}")
    digest = file_digest(path)
    if entry is None or entry.body["digest"] != digest:
        expected = "no entry" if entry is None else entry.body["digest"]
        raise DigestMismatch(
            f"{path}: is {digest}, but the ledger has {expected}. The campaign was changed after it"
            " was taken in: restore it from a copy."
        )
    return tuple(read_records(path, Attempt))


def all_attempts(layout: HomeLayout, ledger: Ledger) -> Mapping[str, tuple[Attempt, ...]]:
    """The attempts of every campaign, by name."""
    return {name: read_campaign(layout, ledger, name) for name in campaign_names(layout)}


def _check_name(name: str) -> None:
    try:
        TypeAdapter(Identifier).validate_python(name)
    except ValidationError as error:
        raise DataError(
            f"'{name}' cannot name a campaign: use lower-case letters, digits, '.', '_' and '-', at"
            " most 64, a letter or digit first"
        ) from error
