"""Where everything is kept, as the environment says."""

from pathlib import Path

import pytest

from plumbline.errors import ConfigError
from plumbline.storage.artifacts import ArtifactStore
from resources.home import Home

PROJECT = Path(__file__).parents[2]


def test_environment_decides(monkeypatch, tmp_path):
    monkeypatch.setenv("PLUMBLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLUMBLINE_PROFILE", "tiny")
    monkeypatch.setenv("PLUMBLINE_DATA", str(tmp_path))
    home = Home.from_environment()
    assert home.layout.root == tmp_path / "home"
    assert home.profile().name == "tiny"
    assert home.data_folder() == tmp_path
    store = home.store()
    assert isinstance(store, ArtifactStore)
    assert store.root == tmp_path / "home" / "store"
    assert home.layout.dvc == tmp_path / "home" / "profiles" / "tiny" / "dvc"
    assert home.layout.dagster == tmp_path / "home" / "profiles" / "tiny" / "dagster"
    assert home.feedback() is home.feedback()
    assert home.feedback().batches() == ()
    assert (tmp_path / "home" / "profiles" / "tiny" / "feedback.db").is_file()


@pytest.mark.parametrize("value", ["", None])
def test_unset_and_empty_variables_mean_the_defaults(monkeypatch, value):
    for name in ("PLUMBLINE_HOME", "PLUMBLINE_PROFILE", "PLUMBLINE_DATA"):
        (
            monkeypatch.delenv(name, raising=False)
            if value is None
            else monkeypatch.setenv(name, value)
        )
    home = Home.from_environment()
    assert (home.layout.root, home.profile_name, home.data) == (
        PROJECT / ".plumbline",
        "sandbox",
        None,
    )


def test_relative_home_stays_where_it_was_meant(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLUMBLINE_HOME", "here")
    home = Home.from_environment()
    monkeypatch.chdir("/")
    assert home.layout.root == tmp_path / "here"


def test_missing_data_and_profile_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="PLUMBLINE_DATA is not set; set it"):
        Home(root=str(tmp_path), profile_name="tiny").data_folder()
    with pytest.raises(ConfigError, match="no folder; set it"):
        Home(root=str(tmp_path), profile_name="tiny", data=str(tmp_path / "absent")).data_folder()
    with pytest.raises(ConfigError, match="PLUMBLINE_PROFILE can be one of"):
        Home(root=str(tmp_path), profile_name="moon").profile()
