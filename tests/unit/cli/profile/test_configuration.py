import json
import shutil

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.cli.profile.reference_page import configuration_page
from plumbline.profile.models import Lora
from plumbline.profile.profile import CONFIGS, Profile, load_profile
from plumbline.profile.release import Gate
from plumbline.profile.training import DPORecipe
from plumbline.schema.rubric import Margins, load_rubric


def run(*arguments):
    return CliRunner().invoke(build_app(), list(arguments))


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_profile_of_the_project_is_valid_and_prints_its_digest(name):
    result = run("profile", "check", name)
    assert result.exit_code == 0, result.output
    assert load_profile(name).digest() in result.stdout


def test_the_profile_of_the_environment_is_checked_by_default(monkeypatch):
    monkeypatch.setenv("PLUMBLINE_PROFILE", "sandbox-one-language")
    assert run("profile", "check").stdout.startswith("sandbox-one-language: valid")


def test_an_unknown_profile_names_the_known_ones():
    result = run("profile", "check", "sandbx")
    assert result.exit_code == 2
    assert "PLUMBLINE_PROFILE can be one of" in result.stderr
    assert "Traceback" not in result.output


def test_a_profile_that_names_a_missing_rubric_is_refused(tmp_path, monkeypatch):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    (tmp_path / "configs" / "rubrics" / "helpful-harmless.yaml").unlink()
    monkeypatch.setattr("plumbline.cli.profile.configuration.CONFIGS", tmp_path / "configs")
    result = run("profile", "check", "sandbox")
    assert result.exit_code == 2
    assert "helpful-harmless.yaml: cannot be read" in result.stderr


def test_profiles_are_listed():
    assert "sandbox" in run("profile", "list").stdout.splitlines()


def test_the_schema_is_the_one_that_profiles_are_validated_with():
    printed = json.loads(run("profile", "schema").stdout)
    expected = Profile.model_json_schema()
    for described in (expected, *expected["$defs"].values()):
        if "description" in described:  # its lines break where the docstring's do
            described["description"] = " ".join(described["description"].split())
    assert printed == expected


@pytest.mark.parametrize("model", [Profile, DPORecipe, Gate, Lora, Margins])
def test_the_reference_page_has_every_field_with_its_description(model):
    page = configuration_page()
    section = page.split(f"\n## {model.__name__}\n")[1].split("\n## ")[0]
    rows = {
        line.split("|")[1].strip(): line for line in section.splitlines() if line.startswith("| `")
    }
    assert list(rows) == [f"`{name}`" for name in model.model_fields]
    for name, field in model.model_fields.items():
        assert (field.description or "") in rows[f"`{name}`"]


def test_the_reference_page_shows_types_bounds_and_defaults():
    page = configuration_page()
    assert (
        "| `beta` | number, above 0 | required | strength of the pull toward the reference policy |"
        in page
    )
    assert "| `lora` | [Lora](#lora) or null | null |" in page
    assert "| `recipes` | name to [DPORecipe](#dporecipe), at least 1 | required |" in page
    assert "| `top_p` | number, above 0, at most 1 | `1.0` |" in page
    assert "| `objective` | `dpo` | required |" in page
    for name in page.split("](#")[1:]:
        assert f"\n## {name.split(')')[0]}\n" in page.lower()


def test_the_reference_page_is_written_and_checked(tmp_path):
    page = tmp_path / "configuration.md"
    assert run("profile", "markdown", "--output", str(page), "--check").exit_code == 2
    assert run("profile", "markdown", "--output", str(page)).exit_code == 0
    assert page.read_text() == configuration_page() == run("profile", "markdown").stdout
    assert run("profile", "markdown", "--output", str(page), "--check").exit_code == 0
    page.write_text(page.read_text() + "x")
    result = run("profile", "markdown", "--output", str(page), "--check")
    assert result.exit_code == 2
    assert "out of date" in result.stderr


def test_a_page_that_cannot_be_written_gives_a_message(tmp_path):
    result = run("profile", "markdown", "--output", str(tmp_path / "no" / "page.md"))
    assert result.exit_code == 2
    assert "No such file" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "rubrics").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_rubric_of_the_project_is_valid(path):
    result = run("profile", "rubric", "check", str(path))
    assert result.exit_code == 0, result.output
    assert load_rubric(path).digest() in result.stdout


def test_a_wrong_rubric_names_file_and_line(tmp_path):
    text = (CONFIGS / "rubrics" / "helpful-harmless.yaml").read_text()
    path = tmp_path / "rubric.yaml"
    path.write_text(text + "surprise: 1\n")
    result = run("profile", "rubric", "check", str(path))
    assert result.exit_code == 2
    assert f"{path}:{len(text.splitlines()) + 1}: surprise: unknown key" in result.stderr
    result = run("profile", "rubric", "check", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_help_names_every_command():
    result = run("--help")
    assert result.exit_code == 0
    for command in ("audit", "feedback", "profile", "release", "sandbox"):
        assert command in result.stdout
