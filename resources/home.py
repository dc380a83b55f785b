"""The installation and the profile that a code location works in."""

import getpass
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dagster as dg
from pydantic import Field

from plumbline.errors import ConfigError
from plumbline.lineage.ledger import Ledger
from plumbline.profile.profile import Profile, load_profile
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout

if TYPE_CHECKING:
    from plumbline.data.store.events import FeedbackStore


class Home(dg.ConfigurableResource["Home"]):
    """One installation seen by one profile: where its files are (see `plumbline.storage.home`),
    and what opens them."""

    root: str = Field(description="folder of everything that Plumbline writes (PLUMBLINE_HOME)")
    profile_name: str = Field(
        description="name of a file in configs/, without .yaml (PLUMBLINE_PROFILE)"
    )
    data: str | None = Field(
        default=None,
        description="folder of the files that a profile with source `files` reads (PLUMBLINE_DATA)",
    )

    @classmethod
    def from_environment(cls) -> Self:
        """The home that PLUMBLINE_HOME, PLUMBLINE_PROFILE and PLUMBLINE_DATA describe; an empty
        variable counts as unset."""
        layout = HomeLayout.from_environment()
        return cls(
            root=str(layout.root),
            profile_name=layout.profile,
            data=os.environ.get("PLUMBLINE_DATA") or None,
        )

    @property
    def layout(self) -> HomeLayout:
        """The paths of this home."""
        return HomeLayout(Path(self.root), self.profile_name)

    def store(self) -> ArtifactStore:
        """The artifact store, shared by all profiles."""
        return ArtifactStore(self.layout.store)

    def feedback(self) -> "FeedbackStore":
        """The profile's feedback store; one for each process, so that connections are reused."""
        self.layout.profile_folder.mkdir(parents=True, exist_ok=True)
        return _feedback_store(self.layout.feedback_url)

    def ledger(self) -> Ledger:
        """The ledger of this home: openings of the vault, signatures and promotions, of all
        profiles."""
        return Ledger(self.layout.ledger)

    @property
    def person(self) -> str:
        """Who launches runs here, as far as that can be known: PLUMBLINE_PERSON, or the user of the
        operating system."""
        return os.environ.get("PLUMBLINE_PERSON") or getpass.getuser()

    def profile(self) -> Profile:
        """The validated profile; one for each process, because the definitions that were loaded
        from it do not change either.

        Raises:
            ConfigError: If there is no such profile, or it is invalid.
        """
        return _profile(self.profile_name)

    def data_folder(self) -> Path:
        """The folder of input files.

        Raises:
            ConfigError: If PLUMBLINE_DATA is unset or is no folder.
        """
        if self.data is None:
            raise ConfigError(
                f"profile '{self.profile_name}' reads files, but PLUMBLINE_DATA is not set; set it"
                " to the folder that the profile's paths are relative to, for example"
                " PLUMBLINE_DATA=/path/to/data"
            )
        folder = Path(self.data).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(
                f"PLUMBLINE_DATA is {folder}, which is no folder; set it to the folder that the"
                " profile's paths are relative to"
            )
        return folder


@cache
def _profile(name: str) -> Profile:
    return load_profile(name)


@cache
def _feedback_store(url: str) -> "FeedbackStore":
    from plumbline.data.store.events import FeedbackStore

    return FeedbackStore(url)
