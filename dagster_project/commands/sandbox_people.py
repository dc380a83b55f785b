"""The two people of the sandbox, who review and approve what the demo made, so that the demo shows
a whole release.

They are made up, like everything in the sandbox, and their signatures say so. Their keys and the
trust in them belong to the profile and count nowhere else; for every other profile people sign with
their own keys (docs/releasing.md).
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from plumbline.errors import ConfigError
from plumbline.profile.sources import SandboxSource
from plumbline.schema.kinds import HELD_OUT_EVALS
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.release.signing.trust import Role


PEOPLE: "Final[Mapping[str, Role]]" = {
    "sandbox-reviewer": "reviewer",
    "sandbox-approver": "approver",
}
REASON: Final = "made up: the sandbox signs for itself, so that a demo can show a release"


def sign_for_the_sandbox(home: Home, decision: str) -> tuple[str, ...]:
    """Review and approve a candidate of the sandbox as its made-up people; returns their names.

    Raises:
        ConfigError: If the profile is no sandbox, or PLUMBLINE_TRUST names a file: real releases
            are signed by people, and a real trust file stays as it is.
        SignatureRefused: If their signatures would not count.
    """
    from plumbline.evaluation.failure_cases import FILE, read_failures
    from plumbline.release.signing.keys import load_private_key
    from plumbline.release.signing.sign import SigningRequest, sign_approval, sign_review
    from plumbline.release.signing.trust import load_trust

    profile = home.profile()
    if not isinstance(profile.source, SandboxSource):
        raise ConfigError(
            f"profile '{profile.name}' is no sandbox: people review and approve its releases, see"
            " docs/releasing.md"
        )
    if os.environ.get("PLUMBLINE_TRUST"):
        raise ConfigError(
            "PLUMBLINE_TRUST is set, and the made-up people of the sandbox stay out of a real trust"
            " file: review and approve with your own key"
        )
    keys = home.layout.profile_folder / "made-up-keys"
    _introduce(home)
    store, ledger, trust = home.store(), home.ledger(), load_trust(home.layout.trust)
    evals = store.manifest(decision).parents[HELD_OUT_EVALS]
    folder, _ = store.open(evals, kind=HELD_OUT_EVALS)
    worst = [case.id for case in read_failures(folder / FILE)][: profile.signoff.samples]
    reviewer, approver = (load_private_key(keys, name) for name in PEOPLE)
    request = SigningRequest(
        store, ledger, trust, profile.signoff, decision, reviewer, REASON, datetime.now(UTC)
    )
    sign_review(request, cases=worst, verdict="accept")
    sign_approval(replace(request, key=approver))
    return tuple(PEOPLE)


def _introduce(home: Home) -> None:
    """Make the keys of the made-up people and trust them in this home, once."""
    from plumbline.release.signing.keys import create_key, own_keys
    from plumbline.release.signing.trust import load_trust, save_trust

    keys = home.layout.profile_folder / "made-up-keys"
    for name, role in PEOPLE.items():
        if not keys.is_dir() or name not in own_keys(keys):
            create_key(keys, name)
        trust = load_trust(home.layout.trust)
        public = (keys / f"{name}.pub").read_text()
        known = trust.with_key(name, public, [role])
        if known != trust:
            save_trust(
                home.layout.trust,
                known,
                trust,
                home.ledger(),
                f"{name} ({role}), made up for the sandbox '{home.profile_name}'",
            )
