"""Every test runs in a home of its own, under the profile `tiny`: the sandbox in seconds, with the
same stages and gates."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
SESSION = Path(tempfile.mkdtemp(prefix="plumbline-tests-"))


def _prepare() -> None:
    """Set the environment before any test module imports the project."""
    configs = SESSION / "configs"
    shutil.copytree(ROOT / "configs", configs)
    shutil.copy(configs / "tests" / "tiny.yaml", configs)
    os.environ |= {
        "PLUMBLINE_CONFIGS": str(configs),
        "PLUMBLINE_HOME": str(SESSION / "home"),
        "PLUMBLINE_PROFILE": "tiny",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    os.environ.setdefault("PLUMBLINE_DATA", str(ROOT.parent / "shared" / "data"))
    os.environ.pop("DAGSTER_HOME", None)


_prepare()

STEPS = "tests/end_to_end/"
"""A user's steps build on each other: these tests keep the order of their files."""
LONGEST = (
    "tests/end_to_end/test_sandbox.py",
    "tests/end_to_end/",
    "tests/gallery/",
    "tests/training/",
    "tests/orchestration/test_preference_versions.py",
    "tests/orchestration/test_guardrail_asset.py",
    "tests/orchestration/test_re",
    "tests/orchestration/",
    "tests/browser/",
)
"""What takes longest starts first, so that no core is idle while another ends with it."""
TOGETHER = {
    "tests/training/": "the trained models",
    "tests/end_to_end/test_chain.py": "the chain",
    "tests/end_to_end/test_feedback_loop.py": "the chain",
}
"""Files that share what one process makes once."""


def _rank(item: pytest.Item) -> int:
    return next(
        (place for place, start in enumerate(LONGEST) if item.nodeid.startswith(start)),
        len(LONGEST),
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and the steps of a user into their order."""
    items.sort(
        key=lambda item: (
            _rank(item),
            (str(item.path), item.location[1] or 0) if item.nodeid.startswith(STEPS) else ("", 0),
        )
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`: whole files, in the order above, and what shares something on one
    core."""
    from xdist.scheduler import LoadFileScheduling

    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # it would put the files with the fewest tests last

    class InOrder(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            shared = (what for start, what in TOGETHER.items() if file.startswith(start))
            return next(shared, file)

    return InOrder(config, log)


@pytest.fixture(scope="session", autouse=True)
def _session_home() -> Iterator[None]:
    yield
    shutil.rmtree(SESSION, ignore_errors=True)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The public data that the real-input tests read; they are skipped where it is absent."""
    folder = Path(os.environ["PLUMBLINE_DATA"])
    if not folder.is_dir():
        pytest.skip(f"the public test data is not at {folder}; set PLUMBLINE_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless Chromium for all tests."""
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip(
            "needs chromium and chromedriver (Debian: apt install chromium chromium-driver)"
        )
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    os.environ.setdefault("SE_OFFLINE", "true")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What this machine lacks: how many tests were left out for it, and how to install it."""
    left_out = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if left_out:
        terminalreporter.section("left out")
    for reason, tests in left_out.most_common():
        terminalreporter.line(f"{tests} {'test' if tests == 1 else 'tests'}: {reason}")
