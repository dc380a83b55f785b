"""Options that several commands share, and the layout and profile that they name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.errors import DataError
from plumbline.profile.profile import CONFIGS, Profile, load_profile
from plumbline.schema.rubric import Rubric, load_rubric
from plumbline.storage.home import HomeLayout

if TYPE_CHECKING:
    from plumbline.data.store.events import FeedbackStore

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Folder of everything that Plumbline writes.",
        envvar="PLUMBLINE_HOME",
        show_default="<project>/.plumbline",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile", help="Name of the profile.", envvar="PLUMBLINE_PROFILE", show_default="sandbox"
    ),
]

RubricOption = Annotated[
    str | None,
    typer.Option(
        "--rubric", help="Rubric of the judgments, `name@version`.", show_default="the profile's"
    ),
]
ApprovedBy = Annotated[str, typer.Option("--approved-by", help="Who approved the use.")]


def layout_of(home: Path | None, profile: str | None = None) -> HomeLayout:
    """The layout that the options name."""
    return HomeLayout.from_environment(home, profile)


def profile_of(layout: HomeLayout) -> Profile:
    """The validated profile of a layout.

    Raises:
        ConfigError: If there is no such profile, or it is invalid.
    """
    return load_profile(layout.profile)


def rubric_of(layout: HomeLayout) -> Rubric:
    """The rubric of the profile of a layout."""
    return load_rubric(CONFIGS / profile_of(layout).rubric)


@contextmanager
def opened(layout: HomeLayout) -> "Iterator[FeedbackStore]":
    """The feedback store of a profile.

    Raises:
        DataError: If its database cannot be used.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from plumbline.data.store.events import FeedbackStore

    layout.profile_folder.mkdir(parents=True, exist_ok=True)
    store = FeedbackStore(layout.feedback_url)
    try:
        yield store
    except SQLAlchemyError as error:
        raise DataError(
            f"{store.database.name}: the feedback store cannot be used:"
            f" {str(error).splitlines()[0]}"
        ) from error
    finally:
        store.close()
