"""The part of the code that a cached result depends on: exactly what its maker can import."""

import shutil

import pytest

from plumbline.storage.code_identity import ROOT
from plumbline.storage.import_closure import closure_digest, import_closure
from plumbline.training.job.kinds import METHODS, WORKER

HELD_OUT = "plumbline.data.preferences.held_out"


@pytest.fixture
def library(tmp_path):
    """Makes a small library of its own from sources by module name."""

    def make(**sources):
        for name, source in sources.items():
            path = tmp_path / "plumbline" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
            for folder in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / folder / "__init__.py").touch()
        return tmp_path

    return make


def names(project, *modules):
    return {name.removeprefix("plumbline") for name in import_closure(*modules, project=project)}


def test_imports_are_followed_wherever_they_stand(library):
    project = library(
        start=(
            "import json\nfrom plumbline.near import thing\n\n"
            "def f():\n    import plumbline.deep.far\n"
        ),
        near="from plumbline import sibling\n",
        sibling="",
        deep__far="class A:\n    def g(self):\n        from plumbline.deep import last\n",
        deep__last="",
        elsewhere="import plumbline.start\n",
    )
    assert names(project, "plumbline.start") == {
        "",
        ".start",
        ".near",
        ".sibling",
        ".deep",
        ".deep.far",
        ".deep.last",
    }


def test_what_only_a_type_checker_imports_does_not_run(library):
    project = library(
        start=(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import plumbline.types_only\n"
            "else:\n    import plumbline.run\n"
        ),
        types_only="",
        run="",
    )
    assert names(project, "plumbline.start") == {"", ".start", ".run"}


def test_dots_are_followed_too(library):
    project = library(
        deep__start="from . import near\nfrom ..far import thing\nfrom .. import farther\n",
        deep__near="",
        far="",
        farther="",
        elsewhere="",
    )
    (project / "plumbline" / "deep" / "__init__.py").write_text("from .inside import thing\n")
    (project / "plumbline" / "deep" / "inside.py").touch()
    assert names(project, "plumbline.deep.start") == {
        "",
        ".deep",
        ".deep.start",
        ".deep.near",
        ".deep.inside",
        ".far",
        ".farther",
    }


def test_a_circle_ends(library):
    project = library(a="import plumbline.b\n", b="import plumbline.a\n")
    assert names(project, "plumbline.a") == {"", ".a", ".b"}


def test_a_module_that_is_not_there_is_an_error(library):
    project = library(a="")
    with pytest.raises(FileNotFoundError, match=r"there is no module plumbline\.missing"):
        import_closure("plumbline.missing", project=project)


@pytest.mark.parametrize(
    "roots",
    [*((WORKER, method.module) for method in METHODS), (HELD_OUT,)],
    ids=[*(method.kind for method in METHODS), "held-out matches"],
)
def test_a_byte_counts_where_it_can_be_imported_and_nowhere_else(roots, tmp_path):
    """Each module of the library is changed by itself, in a copy, for every kind of job and for the
    remembered held-out matches."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "plumbline", copy / "plumbline")
    closure = import_closure(*roots, project=copy)
    before = closure_digest(*roots, project=copy)
    assert before == closure_digest(*roots), "another folder is not another code"
    modules = sorted((copy / "plumbline").rglob("*.py"))
    assert 20 < len(closure) < len(modules) / 2
    for path in modules:
        original = path.read_bytes()
        path.write_bytes(original + b"\n# changed\n")
        closure_digest.cache_clear()
        changed = closure_digest(*roots, project=copy) != before
        path.write_bytes(original)
        assert changed == (path in closure.values()), path


def test_a_job_does_not_depend_on_the_other_methods():
    own = {method.module for method in METHODS}
    for method in METHODS:
        reached = own & import_closure(WORKER, method.module).keys()
        assert reached == {method.module}


def test_the_reader_of_the_pairs_is_part_of_every_job_that_reads_pairs():
    for method in METHODS:
        closure = import_closure(WORKER, method.module)
        assert "plumbline.storage.jsonl" in closure
        assert ("plumbline.schema.preferences" in closure) or method.kind == "samples"
