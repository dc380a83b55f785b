"""Options that several commands share, and the layout and profile that they name."""

from pathlib import Path
from typing import Annotated

import typer

from plumbline.config import Profile, load_profile
from plumbline.home import HomeLayout

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of everything that Plumbline writes.", envvar="PLUMBLINE_HOME", show_default="<project>/.plumbline")
]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="Name of the profile.", envvar="PLUMBLINE_PROFILE", show_default="sandbox")]


def layout_of(home: Path | None, profile: str | None = None) -> HomeLayout:
    """The layout that the options name."""
    return HomeLayout.from_environment(home, profile)


def profile_of(layout: HomeLayout) -> Profile:
    """The validated profile of a layout.

    Raises:
        ConfigError: If there is no such profile, or it is invalid.
    """
    return load_profile(layout.profile)
