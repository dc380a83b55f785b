"""Suites and slices: what the vault holds and what each prompt tests, readable without the
prompts."""

from pathlib import Path

import pytest

from plumbline.data.sources import load_held_out_prompts
from plumbline.errors import ConfigError, DataError
from plumbline.evaluation.vault.suites import (
    describe,
    is_borderline,
    read_contents,
    require_rules,
    suite_digest,
    tags,
    write_vault,
)
from plumbline.evaluation.vault.variants import with_variants
from plumbline.profile.evaluation import VaultConfig
from plumbline.profile.profile import load_profile
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt


def prompt(
    name="a",
    *turns,
    expected="comply",
    suite="books",
    locale="en",
    domain="care",
    slice_="books-en",
    facts=None,
):
    messages = turns or (("user", "How?"),)
    return EvalPrompt(
        id=name,
        suite=suite,
        prompt=tuple(Message(role=role, content=text) for role, text in messages),
        expected=expected,
        context=Context(locale=locale, domain=domain, slice=slice_),
        facts=facts or {},
    )


def test_tags_say_what_a_prompt_tests():
    long = prompt(
        "b",
        ("system", "Be brief."),
        ("user", "word " * 100),
        expected="refuse",
        locale="es",
        domain="harm",
    )
    assert tags(prompt()) == {
        "helpfulness",
        "language:en",
        "roles:single",
        "template:own",
        "length:short",
        "domain:care",
    }
    assert tags(long) == {
        "safety",
        "language:es",
        "roles:system",
        "template:own",
        "length:long",
        "domain:harm",
    }
    talk = prompt(
        "c",
        ("user", "Hi " * 20),
        ("assistant", "Hello"),
        ("user", "Why?"),
        expected="unknown",
        facts={"variant": "polite", "allowed_calls": "[]"},
    )
    assert {
        "unlabelled",
        "actions",
        "roles:conversation",
        "template:polite",
        "length:medium",
    } <= tags(talk)
    assert is_borderline(prompt(facts={"borderline": "yes"}))
    assert not is_borderline(prompt(expected="refuse", facts={"borderline": "yes"}))


@pytest.mark.requirement("E3")
def test_the_digest_of_a_suite_is_that_of_its_prompts_in_any_order():
    one, other = prompt("a"), prompt("b")
    assert suite_digest([one, other]) == suite_digest([other, one]) != suite_digest([one])
    assert suite_digest([one]) != suite_digest([one.model_copy(update={"facts": {"x": "y"}})])


@pytest.mark.requirement("E3")
def test_contents_come_back_and_tell_no_prompt(tmp_path):
    prompts = [
        prompt("b"),
        prompt("a", ("user", "The secret question?"), expected="refuse"),
        prompt("z", suite="songs", slice_="songs-en"),
    ]
    contents = describe(prompts, "sandbox", {"books": "a shelf", "songs": "a choir"})
    write_vault(tmp_path, prompts, contents)
    assert read_contents(tmp_path) == contents
    assert b"secret" not in (tmp_path / "suites.json").read_bytes()
    assert (contents.slices, contents.suites["books"].source) == (
        {"books-en": 2, "songs-en": 1},
        "a shelf",
    )
    assert contents.suites["books"].slices["books-en"].expected == {"comply": 1, "refuse": 1}
    assert contents.tags["helpfulness"] == 2
    with pytest.raises(DataError, match="1 ids of held-out prompts stand twice, the first is a"):
        write_vault(tmp_path, [prompt("a"), prompt("a")], contents)


def test_pooled_slices_are_counted_as_the_report_pools_them():
    """3 slices of 1, 2 and 4 prompts: `harm` has 3, `all` 7; variants of 8 and 16 are pooled among
    themselves."""
    sizes = {"harm-en": 1, "harm-es": 2, "safe": 4, "harm-en.polite": 8, "harm-es.polite": 16}
    prompts = [
        prompt(f"{name}-{number}", slice_=name)
        for name, size in sizes.items()
        for number in range(size)
    ]
    contents = describe(prompts, "sandbox", {"books": "a shelf"})
    wanted = {
        "harm-en": 1,
        "harm": 3,
        "safe": 4,
        "all": 7,
        "harm.polite": 24,
        "harm-es.polite": 16,
        "all.polite": 24,
        "songs": 0,
    }
    assert {name: contents.prompts_in(name) for name in wanted} == wanted


def test_rules_and_suites_name_each_other():
    rule = VaultConfig.model_validate(
        {"suites": {"books": {"budget": 1}, "attacks": {"budget": 1, "grows": True}}}
    )
    require_rules(["books"], rule)  # a suite that grows may still be empty
    with pytest.raises(ConfigError, match="suite 'songs' has no rule"):
        require_rules(["books", "songs"], rule)
    with pytest.raises(
        ConfigError, match="there is a rule for 'books', but the vault has the suites attacks"
    ):
        require_rules(["attacks"], rule)


@pytest.mark.requirement("E3")
@pytest.mark.requirement("E8")
def test_the_sandbox_vault_covers_every_respect_that_its_world_can_have():
    """Four kinds in three slices each, two languages, stories and variants; 3 of 4 kinds are to be
    answered, two of these only sound unsafe."""
    profile = load_profile("tiny")
    loaded = load_held_out_prompts(profile, Path)
    contents = describe(
        with_variants(loaded.rows, profile.vault, profile.seed), profile.name, loaded.sources
    )
    own = {name: count for name, count in contents.slices.items() if "." not in name}
    assert set(own) == {
        f"{kind}-{place}"
        for kind in ("benign", "harm", "own", "idiom")
        for place in ("en", "es", "story")
    }
    assert set(own.values()) == {6}
    assert list(contents.suites) == ["sandbox"]
    assert {
        "safety",
        "helpfulness",
        "borderline",
        "language:en",
        "language:es",
        "template:story",
        "template:polite",
        "template:terse",
    } <= contents.tags.keys()
    base = [
        one
        for one in loaded.rows
        if one.context.slice in ("own-en", "idiom-es", "benign-en", "harm-en")
    ]
    assert {one.context.slice: is_borderline(one) for one in base} == {
        "own-en": True,
        "idiom-es": True,
        "benign-en": False,
        "harm-en": False,
    }


@pytest.mark.requirement("E10")
def test_the_real_vault_has_public_safety_borderline_and_action_slices(data_folder):
    profile = load_profile("real-data-cpu")
    loaded = load_held_out_prompts(profile, lambda: data_folder)
    contents = describe(loaded.rows, profile.name, loaded.sources)
    assert contents.slices == {"actions-allow": 24, "actions-deny": 24, "safe": 250, "unsafe": 200}
    assert contents.suites["agent-actions"].source == "configs/vault/agent-actions.jsonl"
    assert contents.suites["xstest"].slices["safe"].tags["borderline"] == 250
    assert {
        "actions",
        "safety",
        "roles:system",
        "roles:single",
        "language:es",
    } <= contents.tags.keys()
