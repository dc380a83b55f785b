"""The eval vault: one way in, every opening in the ledger, suites pinned and worn out by the
policies that they judged."""

import ast
import subprocess
import sys

import pytest
from pydantic import ValidationError

from plumbline.errors import VaultRefused
from plumbline.evaluation.vault.opening import KIND, open_vault, openings, suite_use
from plumbline.evaluation.vault.suites import describe, write_vault
from plumbline.lineage.ledger import Ledger
from plumbline.profile.evaluation import VaultConfig
from plumbline.profile.profile import load_profile
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.storage.code_identity import ROOT
from plumbline.training.job.kinds import METHODS, method_of
from plumbline.training.job.spec import JobSpec
from plumbline.training.models.chat_template import template_identity

POLICIES = tuple(f"sha256:{digit * 64}" for digit in "abcdef")


def prompt(name, *, suite="books", text=None, **facts):
    return EvalPrompt(
        id=name,
        suite=suite,
        prompt=(Message(role="user", content=text or f"What is {name}?"),),
        expected="comply",
        context=Context(locale="en", domain="d", slice=f"{suite}-en"),
        facts=facts,
    )


def rule_of(**suites):
    return VaultConfig.model_validate({"suites": suites or {"books": {"budget": 2}}})


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture
def make_vault(tmp_path):
    """Writes a vault of these prompts; gives its folder."""

    def write(*prompts):
        folder = tmp_path / f"vault-{len(list(tmp_path.glob('vault-*')))}"
        folder.mkdir()
        write_vault(
            folder, prompts, describe(prompts, "sandbox", {one.suite: "a test" for one in prompts})
        )
        return folder

    return write


def evaluate(folder, ledger, policy, rule):
    return open_vault(
        folder, ledger, purpose="evaluation", by="held_out_evals", policy=policy, rule=rule
    )


@pytest.mark.requirement("E3")
def test_every_opening_is_an_entry_for_each_suite_and_the_same_one_again_adds_nothing(
    make_vault, ledger
):
    folder = make_vault(prompt("a"), prompt("b"), prompt("c", suite="songs"))
    rule = rule_of(books={"budget": 2}, songs={"budget": 1})
    for _ in range(3):
        assert {one.id for one in evaluate(folder, ledger, POLICIES[0], rule)} == {"a", "b", "c"}
    open_vault(
        folder, ledger, purpose="contamination", by="preference_data", policy=None, rule=rule
    )
    found = openings(ledger, "sandbox")
    assert [(one.suite, one.purpose, one.by, one.policy) for one in found] == [
        ("books", "evaluation", "held_out_evals", POLICIES[0]),
        ("songs", "evaluation", "held_out_evals", POLICIES[0]),
        ("books", "contamination", "preference_data", None),
        ("songs", "contamination", "preference_data", None),
    ]
    assert len({one.content for one in found}) == 2
    assert len({one.vault for one in found}) == 1
    assert openings(ledger, "another-profile") == ()
    assert not ledger.verify()


@pytest.mark.requirement("E3")
def test_another_digest_than_that_of_the_first_opening_is_refused_and_leaves_no_entry(
    make_vault, ledger
):
    before = make_vault(prompt("a"), prompt("b"))
    evaluate(before, ledger, POLICIES[0], rule_of())
    first = openings(ledger, "sandbox")[0].content
    changed = make_vault(prompt("a"), prompt("b", text="What is B, really?"))
    with pytest.raises(
        VaultRefused,
        match=r"suite 'books' is sha256:\w+, but its first opening, in the ledger, says " + first,
    ):
        evaluate(changed, ledger, POLICIES[1], rule_of())
    assert len(ledger.entries(KIND)) == 1
    evaluate(before, ledger, POLICIES[1], rule_of())


@pytest.mark.requirement("E3")
def test_who_is_overtaken_while_opening_does_not_get_the_prompts(make_vault, ledger):
    """Another process spends the last of the budget between our look at the ledger and our
    entry."""
    folder, rule = make_vault(prompt("a")), rule_of(books={"budget": 1})

    class Overtaken(Ledger):
        def append(self, kind, key, body):
            evaluate(folder, ledger, POLICIES[0], rule)
            return super().append(kind, key, body)

    with pytest.raises(VaultRefused, match="its budget is 1"):
        evaluate(folder, Overtaken(ledger.path), POLICIES[1], rule)
    assert [one.policy for one in openings(ledger, "sandbox")] == list(POLICIES[:2])


@pytest.mark.requirement("E3")
def test_a_pin_of_the_profile_counts_before_the_ledger(make_vault, ledger):
    """A changed suite is opened again only after a person put its digest into the profile; then the
    old prompts are refused."""
    before, after = make_vault(prompt("a")), make_vault(prompt("a"), prompt("b"))
    evaluate(before, ledger, POLICIES[0], rule_of())
    new = describe([prompt("a"), prompt("b")], "sandbox", {"books": "x"}).suites["books"].content
    pinned = rule_of(books={"budget": 2, "pin": new})
    assert len(evaluate(after, ledger, POLICIES[0], pinned)) == 2
    with pytest.raises(VaultRefused, match=r"the pin in vault\.suites of profile 'sandbox'"):
        evaluate(before, ledger, POLICIES[0], pinned)


@pytest.mark.requirement("E3")
def test_a_worn_out_suite_judges_no_further_policy_but_the_ones_that_it_judged(make_vault, ledger):
    folder, rule = make_vault(prompt("a")), rule_of(books={"budget": 2})
    for policy in POLICIES[:2]:
        evaluate(folder, ledger, policy, rule)
    assert suite_use("books", rule.suites["books"], openings(ledger, "sandbox")).left == 0
    with pytest.raises(
        VaultRefused,
        match=(
            r"has judged 2 policies, and its budget is 2.*Renew it: put fresh prompts under a new"
            r" name"
        ),
    ):
        evaluate(folder, ledger, POLICIES[2], rule)
    evaluate(folder, ledger, POLICIES[0], rule)
    open_vault(folder, ledger, purpose="inspection", by="ada", policy=None, rule=rule)
    assert (
        suite_use("books", rule.suites["books"], openings(ledger, "sandbox")).policies
        == POLICIES[:2]
    )
    renewed = make_vault(prompt("fresh", suite="books-2"))
    assert evaluate(renewed, ledger, POLICIES[2], rule_of(**{"books-2": {"budget": 1}}))


@pytest.mark.requirement("E3")
def test_two_processes_cannot_both_take_the_last_use(make_vault, ledger):
    """Four processes evaluate four policies at once with a budget of one: exactly one gets the
    prompts, whatever the order."""
    folder = make_vault(*(prompt(f"p{number}") for number in range(50)))
    code = """
import sys
from pathlib import Path
from plumbline.lineage.ledger import Ledger
from plumbline.profile.evaluation import VaultConfig
from plumbline.evaluation.vault.opening import open_vault
from plumbline.errors import VaultRefused
rule = VaultConfig.model_validate({"suites": {"books": {"budget": 1}}})
vault, ledger, policy = Path(sys.argv[1]), Ledger(Path(sys.argv[2])), sys.argv[3]
try:
    opened = open_vault(vault, ledger, purpose="evaluation", by="e", policy=policy, rule=rule)
    print(len(opened))
except VaultRefused:
    print("refused")
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(ledger.path), policy],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for policy in POLICIES[:4]
    ]
    assert sorted(process.communicate(timeout=120)[0].strip() for process in running) == [
        "50",
        "refused",
        "refused",
        "refused",
    ]


@pytest.mark.requirement("E3")
def test_a_suite_that_grows_may_gain_prompts_and_never_lose_or_change_one(make_vault, ledger):
    rule = rule_of(books={"budget": 9, "grows": True})
    evaluate(make_vault(prompt("a")), ledger, POLICIES[0], rule)
    evaluate(make_vault(prompt("a"), prompt("b")), ledger, POLICIES[0], rule)
    evaluate(
        make_vault(prompt("a", text="WHAT is a?"), prompt("b", found_by="somebody else")),
        ledger,
        POLICIES[0],
        rule,
    )  # asks and expects the same
    for fewer in ([prompt("b"), prompt("c")], [prompt("a"), prompt("b", text="Which is b?")]):
        with pytest.raises(VaultRefused, match="never lose or change one, but 1 of those"):
            evaluate(make_vault(*fewer), ledger, POLICIES[0], rule)


@pytest.mark.requirement("E3")
def test_a_prompt_may_leave_a_suite_that_grows_only_when_the_vault_says_that_it_retired(
    tmp_path, ledger
):
    """Also when it was the last one, so that the whole suite is gone."""
    rule = rule_of(books={"budget": 9, "grows": True}, songs={"budget": 9})

    def evaluated(*prompts, retired=()):
        folder = tmp_path / f"vault-{len(list(tmp_path.glob('vault-*')))}"
        folder.mkdir()
        own = (*prompts, prompt("s", suite="songs"))
        write_vault(
            folder,
            own,
            describe(own, "sandbox", {"books": "attacks", "songs": "x"}, {"books": retired}),
        )
        return evaluate(folder, ledger, POLICIES[0], rule)

    assert len(evaluated(prompt("a"), prompt("b"))) == 3
    assert len(evaluated(prompt("a"), retired=["b"])) == 2
    with pytest.raises(VaultRefused, match="but 1 of those that were opened before"):
        evaluated(retired=["b"])
    assert len(evaluated(retired=["a", "b"])) == 1


@pytest.mark.requirement("E3")
def test_a_suite_without_a_rule_and_an_evaluation_without_a_policy_are_refused(make_vault, ledger):
    folder = make_vault(prompt("a"), prompt("c", suite="songs"))
    with pytest.raises(VaultRefused, match="suite 'songs' of the vault has no rule"):
        evaluate(folder, ledger, POLICIES[0], rule_of())
    both = rule_of(books={"budget": 1}, songs={"budget": 1})
    for purpose, policy in (("evaluation", None), ("contamination", POLICIES[0])):
        with pytest.raises(ValueError, match="an evaluation names the policy"):
            open_vault(folder, ledger, purpose=purpose, by="x", policy=policy, rule=both)
    assert ledger.entries() == ()


def test_an_opening_of_another_version_is_an_error_for_people(ledger):
    ledger.append(KIND, "key", {"suite": "books"})
    with pytest.raises(VaultRefused, match="of another version of Plumbline"):
        openings(ledger, "sandbox")


@pytest.mark.requirement("E3")
def test_prompts_that_are_not_those_of_suites_json_are_refused(make_vault, ledger):
    folder, other = make_vault(prompt("a"), prompt("c", suite="songs")), make_vault(prompt("a"))
    (folder / "prompts.jsonl").write_bytes((other / "prompts.jsonl").read_bytes())
    with pytest.raises(
        VaultRefused,
        match=r"holds prompts of \['books'\], but its suites.json names \['books', 'songs'\]",
    ):
        evaluate(folder, ledger, POLICIES[0], rule_of(books={"budget": 1}, songs={"budget": 1}))


@pytest.mark.requirement("E3")
def test_nothing_but_the_vault_and_the_sampling_job_reads_the_prompts():
    """The name of the file is written once, and whoever uses it is one of three: the writer, the
    one reader, and the job that gets the tree by its spec."""
    users, literals = set(), set()
    for package in ("plumbline", "assets", "resources", "dagster_project"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name = path.relative_to(ROOT).as_posix()
                if isinstance(node, ast.Constant) and node.value == "prompts.jsonl":
                    literals.add(name)
                if (
                    isinstance(node, ast.ImportFrom)
                    and node.module == "plumbline.schema.held_out"
                    and "PROMPTS" in {one.name for one in node.names}
                ):
                    users.add(name)
    assert literals == {"plumbline/schema/held_out.py"}
    assert users == {
        "plumbline/evaluation/vault/opening.py",
        "plumbline/evaluation/vault/suites.py",
        "plumbline/training/sampling/sampling.py",
    }


@pytest.mark.requirement("E2")
@pytest.mark.requirement("E3")
@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        ("reference_policy", "reference"),
        ("reward_model", "reward_model"),
        ("aligned_policy", "recipes"),
    ],
)
def test_no_job_that_trains_can_be_handed_the_vault(kind, recipe):
    """A specification takes the inputs of its kind and no other; only the job that samples
    responses has the vault among them."""
    assert {
        method.kind for method in METHODS if "eval_vault" in method.inputs | method.optional
    } == {"samples"}
    profile = load_profile("sandbox")
    recipe = profile.recipes["dpo"] if recipe == "recipes" else getattr(profile, recipe)
    method = method_of(kind, recipe)
    roles = method.inputs
    fields = {
        "kind": kind,
        "inputs": dict.fromkeys(roles, POLICIES[0]),
        "certificates": dict.fromkeys(method.certified, POLICIES[1]),
        "model": profile.model,
        "recipe": recipe,
        "hardware": profile.hardware,
        "rubric": POLICIES[0],
        "chat_template": template_identity(profile.model),
        "source": POLICIES[0],
        "packages": POLICIES[0],
    }
    assert JobSpec(**fields).kind == kind
    with pytest.raises(
        ValidationError, match=rf"a {kind} job takes the inputs .*, not .*'eval_vault'"
    ):
        JobSpec(**fields | {"inputs": fields["inputs"] | {"eval_vault": POLICIES[2]}})
