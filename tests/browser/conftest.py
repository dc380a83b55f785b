"""The pages of the unit tests, for a real browser: a running service, and release reports."""

from tests.unit.reports.release.conftest import complete, make
from tests.unit.service.conftest import _profile_of_the_service, home, new_item, new_task, served

__all__ = ["_profile_of_the_service", "complete", "home", "make", "new_item", "new_task", "served"]
