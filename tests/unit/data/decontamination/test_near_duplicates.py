import itertools
import random
import subprocess
import sys

import numpy as np
import pytest

from plumbline.data.decontamination.near_duplicates import (
    Document,
    Sketches,
    banding,
    keep_one,
    near_duplicates,
    scheme,
    sketch,
    sketch_width,
)
from plumbline.profile.data import NearDuplicateConfig
from plumbline.text.ngrams import words

RULE = NearDuplicateConfig(shingle=5, threshold=0.7, action="report")
VOCABULARY = [f"word{number}" for number in range(500)]


def text(rng, length):
    return " ".join(rng.choices(VOCABULARY, k=length))


def edited(rng, original, edits):
    changed = original.split()
    for place in rng.sample(range(len(changed)), edits):
        changed[place] = rng.choice(VOCABULARY)
    return " ".join(changed)


def corpus(seed, families=40):
    """Families of documents from equal over slightly to widely edited, so that similarities lie on
    both sides of every threshold."""
    rng = random.Random(seed)
    documents = []
    for _ in range(families):
        prompt, first, second = text(rng, 20), text(rng, 40), text(rng, 60)
        documents += [
            Document([prompt], [edited(rng, first, edits), second]) for edits in (0, 0, 1, 2, 4, 8)
        ]
        documents += [Document([prompt], [text(rng, 40), text(rng, 60)])]
    rng.shuffle(documents)
    return documents


def group(documents, rule=RULE):
    return near_duplicates(
        sketch(documents, rule), lambda rows: [documents[row] for row in rows], rule
    )


def shingles(texts, order):
    found = set()
    for one in texts:
        own = words(one)
        found |= {
            tuple(own[start : start + order]) for start in range(max(1, len(own) - order + 1))
        }
    return found


def halves(document, order):
    """Shingles of everything, and of the responses alone."""
    return shingles([*document.prompt, *document.responses], order), shingles(
        document.responses, order
    )


def similarity(one, other, order):
    """Jaccard, written out; the smaller one of both halves."""
    return min(
        len(first & second) / len(first | second)
        for first, second in zip(halves(one, order), halves(other, order), strict=True)
    )


def brute_force(documents, rule):
    parent = list(range(len(documents)))

    def root(row):
        while parent[row] != row:
            row = parent[row]
        return row

    sets = [halves(document, rule.shingle) for document in documents]
    for one, other in itertools.combinations(range(len(documents)), 2):
        if (
            min(
                len(mine & theirs) / len(mine | theirs)
                for mine, theirs in zip(sets[one], sets[other], strict=True)
            )
            >= rule.threshold
        ):
            low, high = sorted((root(one), root(other)))
            parent[high] = low
    return [root(row) for row in range(len(documents))]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_groups_are_those_of_comparing_everything_with_everything(threshold):
    rule = RULE.model_copy(update={"threshold": threshold})
    documents = corpus(seed=3)
    expected = brute_force(documents, rule)
    assert len(set(expected)) < len(documents) - 40  # equal ones at least
    assert group(documents, rule).group.tolist() == expected


def test_a_link_carries_its_exact_similarity():
    """Ten words, the last one changed: of the six shingles of five words one differs, so 5 are
    shared of 7: 0.714...

    The prompt is the same single shingle, so over everything it is 6 of 8: the smaller one counts.
    """
    one = Document(["a prompt"], ["a b c d e f g h i j"])
    other = Document(["A prompt!"], ["a b c d e f g h i changed"])
    (link,) = group([one, other]).links
    assert link == (0, 1, 5 / 7)
    assert group([one, other], RULE.model_copy(update={"threshold": 0.72})).links == []


def test_a_long_prompt_in_common_makes_no_duplicates():
    """Pairs of one ranking share the prompt and a response, which is no reason to drop one."""
    rng = random.Random(5)
    prompt, first, second, third = text(rng, 800), text(rng, 30), text(rng, 30), text(rng, 30)
    documents = [
        Document([prompt], [first, second]),
        Document([prompt], [first, third]),
        Document([prompt], [second, third]),
    ]
    assert similarity(documents[0], documents[1], 5) == pytest.approx(1 / 3, abs=0.01)
    assert group(documents).group.tolist() == [0, 1, 2]


def test_the_order_of_the_responses_case_and_invisible_characters_make_no_difference():
    one = Document(["How do I kill a process?"], ["With the kill command.", "I cannot help."])
    other = Document(
        ["how do i KILL a pro\u200bcess"],
        ["I cannot help!", "With the \uff4b\uff49\uff4c\uff4c command"],
    )
    assert np.array_equal(sketch([one], RULE).signatures, sketch([other], RULE).signatures)
    assert sketch([one], RULE).fingerprints == sketch([other], RULE).fingerprints
    assert group([one, other]).links == [(0, 1, 1.0)]


def test_prompt_and_responses_cannot_be_exchanged():
    one, other = Document(["a b c"], ["d e f"]), Document(["d e f"], ["a b c"])
    assert sketch([one], RULE).fingerprints != sketch([other], RULE).fingerprints
    assert group([one, other]).links == []


def test_sketches_do_not_depend_on_how_the_stream_is_cut():
    documents = corpus(seed=9, families=10)
    whole = sketch(documents, RULE)
    parts = [sketch(documents[start : start + 7], RULE) for start in range(0, len(documents), 7)]
    assert np.array_equal(np.concatenate([part.signatures for part in parts]), whole.signatures)
    assert np.array_equal(np.concatenate([part.fingerprints for part in parts]), whole.fingerprints)
    assert whole.signatures.shape == (len(documents), sketch_width(RULE))
    assert sketch([], RULE).signatures.shape == (0, sketch_width(RULE))
    assert near_duplicates(sketch([], RULE), lambda rows: [], RULE).group.tolist() == []


def test_sketches_are_the_same_in_another_process():
    program = (
        "from plumbline.data.decontamination.near_duplicates import Document, scheme, sketch\n"
        "from plumbline.profile.data import NearDuplicateConfig\n"
        "rule = NearDuplicateConfig(shingle=5, threshold=0.7, action='report')\n"
        "sketches = sketch([Document(['a prompt'], ['one', 'two, three and more words'])], rule)\n"
        "print(scheme(rule), sketches.signatures.tobytes().hex(), int(sketches.fingerprints[0]))"
    )
    environment = {
        "PYTHONHASHSEED": "77",
        "RAYON_NUM_THREADS": "1",
        "PYTHONPATH": ":".join(sys.path),
    }
    other = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    own = sketch([Document(["a prompt"], ["one", "two, three and more words"])], RULE)
    assert other == f"{scheme(RULE)} {own.signatures.tobytes().hex()} {int(own.fingerprints[0])}"


def test_whatever_changes_a_sketch_changes_the_name_of_the_scheme():
    rules = [
        RULE,
        RULE.model_copy(update={"shingle": 4}),
        RULE.model_copy(update={"threshold": 0.9}),
    ]
    assert len({scheme(rule) for rule in rules}) == 3
    assert scheme(RULE) == scheme(RULE.model_copy(update={"action": "set_aside"}))


def test_sketches_estimate_the_similarity():
    """The share of equal bytes estimates Jaccard with a standard deviation of sqrt(J (1 - J) /
    125), at most 0.045, and 1/256 agree by chance."""
    rng = random.Random(11)
    for _ in range(20):
        words_ = rng.choices([f"w{n}" for n in range(10_000)], k=400)
        cut = rng.randrange(50, 350)
        one, other = Document([], [" ".join(words_)]), Document([], [" ".join(words_[cut // 2 :])])
        sketches = sketch([one, other], RULE)
        estimate = (np.mean(sketches.signatures[0] == sketches.signatures[1]) - 1 / 256) / (
            1 - 1 / 256
        )
        assert estimate == pytest.approx(similarity(one, other, 5), abs=4.5 * 0.045)


@pytest.mark.parametrize(
    ("threshold", "bands", "rows"), [(0.7, 25, 5), (0.8, 18, 7), (1.0, 1, 128), (0.01, 128, 1)]
)
def test_banding(threshold, bands, rows):
    """At 0.7: 1 - (1 - 0.7**5)**25 = 0.990, and bands of 6 would give 1 - (1 - 0.7**6)**21 = 0.928,
    below 0.95."""
    assert banding(threshold) == (bands, rows)


def test_texts_are_read_for_candidates_only_and_a_bounded_number_at_once():
    documents = corpus(seed=13, families=30)
    strangers = [
        Document([], [" ".join(f"{row}-{place}" for place in range(40))]) for row in range(3000)
    ]
    asked = []

    def read(rows):
        asked.append(list(rows))
        return [(documents + strangers)[row] for row in rows]

    found = near_duplicates(sketch(documents + strangers, RULE), read, RULE)
    assert found.links
    assert max(map(len, asked)) <= 4096
    assert {row for rows in asked for row in rows} <= set(range(len(documents)))


def test_a_bucket_of_thousands_is_searched_in_proportion_to_its_size():
    """Two thousand documents that share most bands: compared with 16 neighbours each, not with
    2,000."""
    rng = random.Random(17)
    original = text(rng, 60)
    documents = [Document([], [edited(rng, original, 1) + f" end{row}"]) for row in range(2000)]
    read = []
    found = near_duplicates(
        sketch(documents, RULE),
        lambda rows: read.extend(rows) or [documents[row] for row in rows],
        RULE,
    )
    assert set(found.group.tolist()) == {0}
    assert len(found.links) == len(documents) - 1
    assert len(read) < 40 * len(documents)


def test_of_each_group_the_held_row_stays():
    """Sides: 0 calibration, 1 validation, 2 train. Rows 0, 1, 4 are a group: the validation row
    stays; 2 and 3: the first of two train rows."""
    group_of = np.array([0, 0, 2, 2, 0, 5])
    side = np.array([2, 1, 2, 2, 1, 2])
    assert keep_one(group_of, side).tolist() == [False, True, True, False, False, True]
    assert keep_one(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def test_the_number_of_links_is_that_of_a_spanning_forest():
    found = group(corpus(seed=21))
    groups = len(set(found.group.tolist()))
    assert len(found.links) == len(found.group) - groups
    assert isinstance(sketch([], RULE), Sketches)
