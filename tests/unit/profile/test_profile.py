"""Profiles and rubrics: every wrong file is refused with its name, its line and what to do."""

from pathlib import Path

import pytest
import yaml

from plumbline.errors import ConfigError
from plumbline.profile.profile import Profile, load_profile
from plumbline.schema.rubric import load_rubric
from plumbline.strict_yaml import load_record

CONFIGS = Path(__file__).parents[3] / "configs"
PROFILES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
RUBRICS = sorted((CONFIGS / "rubrics").glob("*.yaml"))


@pytest.mark.parametrize("name", PROFILES)
def test_every_committed_profile_is_valid_and_names_files_that_exist(name):
    profile = load_profile(name, CONFIGS)
    assert (CONFIGS / profile.preferences.suite).is_file()
    assert (CONFIGS / profile.demonstrations.suite).is_file()
    load_rubric(CONFIGS / profile.rubric)


SIZES = {
    "name",
    "source.demonstrations",
    "source.pairs",
    "source.verdicts",
    "source.prompts_per_slice",
    "batches.max_events",
    "model.hidden",
    "model.feed_forward",
    "reference.optimizer.save_every",
    "reward_model.optimizer.save_every",
    "recipes.dpo.optimizer.save_every",
    "vault.variant_prompts",
    "pressures.best_of.n",
    "pressures.best_of.prompts",
}


def leaves(value, path=""):
    """Every value of a nested record, by the path of its field."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}".removeprefix("."))
    else:
        yield path, value


def test_the_profile_of_the_tests_is_the_sandbox_in_other_sizes():
    sandbox, tiny = (
        dict(leaves(load_profile(name, folder).model_dump(mode="json")))
        for name, folder in (("sandbox", CONFIGS), ("tiny", CONFIGS / "tests"))
    )
    assert sandbox.keys() == tiny.keys()
    assert {path for path in sandbox if sandbox[path] != tiny[path]} == SIZES


@pytest.mark.parametrize("path", RUBRICS, ids=lambda p: p.stem)
def test_every_committed_rubric_is_valid_and_its_file_carries_its_name(path):
    assert load_rubric(path).name == path.stem


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (CONFIGS / "sandbox.yaml").read_text()
    assert text.count(old) >= 1, old
    path = tmp_path / "sandbox.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("candidate: dpo", "candidate: ppo", "the document", "is not one of the recipes"),
        ("    beta: 0.1", "    beta: 0.1\n    smoothing: 0.1", "smoothing", "unknown key"),
        ("    beta: 0.1", "    beta: -0.1", "beta", "greater than 0"),
        ("    beta: 0.1", "    beta: .nan", "beta", "valid number"),
        (
            "temperature: 1.0",
            "temperature: 0, top_p: 0.9",
            "evaluation",
            "no effect at temperature 0",
        ),
        ("precision: float32", "precision: bfloat16", "hardware", "use float32"),
        (
            "tokenizer: words",
            "tokenizer: words\n  vocabulary: 2048",
            "model",
            "give it there, and only there",
        ),
        ("heads: 4", "heads: 5", "model", "multiple of heads"),
        ("scorer: sandbox", "scorer: vibes", "scorer", "'sandbox', 'rules' or 'detector'"),
        ("seed: 1", 'seed: "0"', "seed", "valid integer"),
        ("seed: 1", "seed: no", "seed", "valid integer"),
        ("rubric: rubrics/", "rubric: ../rubrics/", "rubric", "stays inside"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_line(tmp_path, old, new, field, words):
    path = edited(tmp_path, old, new)
    with pytest.raises(ConfigError, match=words) as caught:
        load_record(path, Profile)
    assert field in str(caught.value)
    assert str(caught.value).startswith(f"{path}")


@pytest.mark.threat("S3")
def test_the_line_of_an_unknown_key_is_right(tmp_path):
    path = edited(tmp_path, "    beta: 0.1", "    beta: 0.1\n    smoothing: 0.1")
    line = next(
        i for i, text in enumerate(path.read_text().splitlines(), start=1) if "smoothing" in text
    )
    with pytest.raises(
        ConfigError, match=rf"sandbox\.yaml:{line}: recipes\.dpo\.smoothing: unknown key"
    ):
        load_record(path, Profile)


@pytest.mark.threat("S3")
def test_a_duplicate_key_names_both_lines(tmp_path):
    path = edited(tmp_path, "    beta: 0.1", "    beta: 0.1\n    beta: 99")
    with pytest.raises(ConfigError, match=r"key 'beta' stands twice, first on line \d+"):
        load_record(path, Profile)


@pytest.mark.threat("S3")
def test_aliases_are_refused(tmp_path):
    path = edited(tmp_path, "candidate: dpo", "candidate: &c dpo\nother: *c")
    with pytest.raises(ConfigError, match=r"alias \*c is not allowed"):
        load_record(path, Profile)


@pytest.mark.threat("S3")
@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [touch marker]", "!own dpo", "!!binary ZHBv"]
)
def test_tags_are_refused_and_run_nothing(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    path = edited(tmp_path, "candidate: dpo", f"candidate: {tag}")
    line = next(
        i for i, text in enumerate(path.read_text().splitlines(), start=1) if "candidate:" in text
    )
    with pytest.raises(ConfigError, match=rf"sandbox\.yaml:{line}: tag \S+ is not allowed"):
        load_record(path, Profile)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"[" * 20_000, ":1: nested more than 32 levels"),
        (b"a: [", "not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"- 1", "valid dictionary|object"),
    ],
)
def test_files_that_are_no_profile(tmp_path, data, words):
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=words):
        load_record(path, Profile)


def test_scientific_notation_is_a_number(tmp_path):
    assert load_profile("sandbox", CONFIGS).reference.optimizer.learning_rate == pytest.approx(
        0.007
    )
    assert "learning_rate: 7e-3" in (CONFIGS / "sandbox.yaml").read_text()


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ConfigError, match="sandbox-one-language"):
        load_profile("sandbx", CONFIGS)


def test_a_file_must_carry_the_name_of_its_profile(tmp_path):
    (tmp_path / "other.yaml").write_text((CONFIGS / "sandbox.yaml").read_text())
    with pytest.raises(ConfigError, match="names itself 'sandbox'"):
        load_profile("other", tmp_path)


def test_one_language_differs_in_its_pairs_alone():
    """The docs' first lesson needs one cause: everything but the language of the pairs is equal."""
    base, other = (
        load_profile("sandbox", CONFIGS).model_dump(),
        load_profile("sandbox-one-language", CONFIGS).model_dump(),
    )
    for profile in (base, other):
        del profile["name"], profile["description"]
        profile["source"].pop("pair_languages")
    assert base == other


@pytest.mark.parametrize("missing", ["optimized", "forbidden", "evidence"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_rubric_without_its_three_parts_is_refused(tmp_path, missing, how):
    rubric = yaml.safe_load(RUBRICS[0].read_text())
    if how == "absent":
        del rubric[missing]
    else:
        rubric[missing] = []
    path = tmp_path / "rubric.yaml"
    path.write_text(yaml.safe_dump(rubric))
    with pytest.raises(ConfigError, match=missing):
        load_rubric(path)


def test_priorities_must_rank_every_clause(tmp_path):
    rubric = yaml.safe_load(RUBRICS[0].read_text())
    rubric["priorities"] = rubric["priorities"][1:]
    path = tmp_path / "rubric.yaml"
    path.write_text(yaml.safe_dump(rubric))
    with pytest.raises(ConfigError, match="must name every clause once"):
        load_rubric(path)
