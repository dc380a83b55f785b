"""Every test runs in a home of its own, under the profile `tiny`: the sandbox in seconds, with the
same stages and gates."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
SESSION = Path(tempfile.mkdtemp(prefix="plumbline-tests-"))
TINY = {
    "name: sandbox\n": "name: tiny\n",
    "demonstrations: 16000": "demonstrations: 400",
    "pairs: 4000": "pairs: 320",
    "verdicts: 2000": "verdicts: 120",
    "prompts_per_slice: 300": "prompts_per_slice: 6",
    "max_events: 2000": "max_events: 160",
    "hidden: 64": "hidden: 32",
    "feed_forward: 128": "feed_forward: 64",
    "save_every: 250": "save_every: 5",
    "save_every: 100": "save_every: 5",
    "variant_prompts: 60": "variant_prompts: 2",
    "best_of: {n: 8, prompts: 60}": "best_of: {n: 2, prompts: 4}",
}


def _prepare() -> None:
    """Set the environment before any test module imports the project."""
    configs = SESSION / "configs"
    shutil.copytree(ROOT / "configs", configs)
    text = (configs / "sandbox.yaml").read_text()
    for old, new in TINY.items():
        if old not in text:
            raise RuntimeError(
                f"tests/conftest.py: configs/sandbox.yaml no longer has '{old}'; correct TINY"
            )
        text = text.replace(old, new)
    (configs / "tiny.yaml").write_text(text)
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
