"""Every seeded defect is stopped by exactly its gate, and a clean world passes all of them."""

import gc
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.gallery.inspection import fired, inspect
from tests.gallery.worlds import World, clean_world, forget

HERE = Path(__file__).parent
DEFECTS = sorted(path.stem for path in (HERE / "defects").glob("*.py"))
OTHER_WORLDS = (2,)
"""Seeds of further clean worlds; benchmarks/false_alarms.py counts over many."""


@pytest.fixture(scope="module")
def clean():
    """One clean world for all defects: what does not depend on a defect is made once."""
    world = clean_world()
    inspect(world)
    gc.freeze()  # statsmodels collects garbage in every correction of p-values, which takes longer the more objects there are
    yield world
    gc.unfreeze()
    forget()


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gallery_{path.stem}", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.slow
def test_a_clean_world_passes_every_gate(clean):
    found = inspect(clean)
    assert {gate: what for gate, what in found.items() if what is not None} == {}
    assert len(found) >= 80


@pytest.mark.slow
@pytest.mark.requirement("E13")
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_stopped_by_its_gate_alone(clean, name):
    defect = module(HERE / "defects" / f"{name}.py")
    planted: World = defect.plant(clean)
    assert planted is not clean
    assert set(fired(planted)) == {defect.GATE}


@pytest.mark.slow
@pytest.mark.parametrize("seed", OTHER_WORLDS)
def test_other_clean_worlds_raise_no_alarm(seed):
    assert fired(clean_world(seed)) == {}


def test_every_defect_says_what_is_wrong_and_names_a_gate_of_its_own_kind():
    generator = module(HERE / "page.py")
    known = generator.defects()
    assert len(known) >= 25
    assert len({gate for gate, _ in known.values()}) >= 25
    assert [name for name, (_, paragraphs) in known.items() if len(paragraphs) != 2] == []
    assert {generator.area_of(gate) for gate, _ in known.values()} == set(generator.AREAS)


def test_the_page_is_current():
    generator = module(HERE / "page.py")
    assert generator.PAGE.read_text() == generator.page(), "run `python tests/gallery/page.py`"
