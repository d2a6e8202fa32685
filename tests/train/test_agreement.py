"""Agreement of raters, against published examples and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fv2es_train.evaluation.agreement import agreement, alpha, kappa
from fv2es_train.evaluation.tables import raters_line

# Krippendorff 2011, section C: four observers, twelve units, five values.
_OBSERVERS = """\
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 ."""
# Fleiss 1971's layout: fourteen raters, ten subjects, five categories.
_SUBJECTS = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]


def votes_of(rows: list[tuple[float, ...]], names: str) -> dict[str, np.ndarray]:
    columns = np.array(rows, np.float32).T
    return {f"votes_{n}": column for n, column in zip(names.split(), columns, strict=True)}


def test_alpha_and_kappa_of_published_examples() -> None:
    units = zip(*(line.split() for line in _OBSERVERS.splitlines()), strict=True)
    counts = np.array([[unit.count(value) for value in "12345"] for unit in units], float)
    assert alpha(counts) == pytest.approx(0.743, abs=5e-4)
    assert kappa(counts) is None  # some units have fewer observers
    assert kappa(np.array(_SUBJECTS, float)) == pytest.approx(0.210, abs=5e-4)


def test_one_rater_is_measured_against_the_others() -> None:
    # All three agree; two against one; a vote outside the classes; one vote, which says nothing.
    rows = [(3, 0, 0), (2, 1, 0), (0, 2, 1), (1, 0, 0)]
    found = agreement(votes_of(rows, "ang hap oth"), ("ang", "hap"))
    # Utterance 2: each "ang" meets "ang" and "hap" once, and "hap" meets "ang". Utterance 3: each
    # "hap" meets "hap" and the other's "oth", which is no class; "oth" meets "hap".
    ang, hap = np.array([3 + 1, 1, 0]), np.array([1, 1, 1])
    right, total = ang[0] + hap[1], ang.sum() + hap.sum()
    chosen = ang + hap
    f1 = [2 * ang[0] / (ang.sum() + chosen[0]), 2 * hap[1] / (hap.sum() + chosen[1]), 0]
    assert found["utterances"] == 3
    assert found["ceiling"] == pytest.approx(
        {
            "accuracy": right / total,
            "balanced_accuracy": (4 / 5 + 1 / 3) / 2,
            "f1_weighted": (f1[0] * 5 + f1[1] * 3) / 8,
            "f1_macro": np.mean(f1),
        }
    )
    assert "alpha 0." in raters_line(found)


def test_the_ceiling_is_that_of_leaving_each_named_rater_out() -> None:
    rng = np.random.default_rng(4)
    # Of six raters three rate each utterance, as in IEMOCAP; ang, hap, and oth, which is no class.
    chosen = np.full((40, 6), -1)
    for row in chosen:
        row[rng.permutation(6)[:3]] = rng.choice(3, 3, p=[0.5, 0.4, 0.1])
    confusion = np.zeros((3, 3))
    for rater in range(6):
        for row in chosen[chosen[:, rater] >= 0]:
            others = [choice for n, choice in enumerate(row) if choice >= 0 and n != rater]
            most = [c for c in set(others) if others.count(c) == max(map(others.count, others))]
            for choice in most:
                confusion[choice, row[rater]] += 1 / len(most)
    counts = [tuple(float((row == c).sum()) for c in range(3)) for row in chosen]
    found = agreement(votes_of(counts, "ang hap oth"), ("ang", "hap"))["ceiling"]
    right = confusion[0, 0], confusion[1, 1]
    assert found["accuracy"] == pytest.approx(sum(right) / confusion[:2].sum())
    recalls = [right[c] / confusion[c].sum() for c in (0, 1)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_shared_votes_count_for_the_ceiling_alone() -> None:
    whole = [(3, 0), (0, 3), (2, 1)]
    shared = agreement(votes_of([*whole, (1.5, 1.5)], "ang hap"), ("ang", "hap"))
    without = agreement(votes_of(whole, "ang hap"), ("ang", "hap"))
    assert (shared["alpha"], shared["kappa"]) == (without["alpha"], without["kappa"])
    assert shared["utterances"] == 4
    assert shared["ceiling"]["accuracy"] < without["ceiling"]["accuracy"]


def test_several_classes_of_each_rater_are_a_yes_or_no_each() -> None:
    ratings = votes_of([(3, 0), (1, 0), (0, 2)], "anger fear")
    ratings["raters"] = np.array([3, 3, 3], np.float32)
    found = agreement(ratings, ("anger", "fear"))
    anger, fear = np.array([(3, 0), (1, 2), (0, 3)]), np.array([(0, 3), (0, 3), (2, 1)])
    assert found["alpha"] == pytest.approx((alpha(anger) + alpha(fear)) / 2)
    # Anger: 3 hits, 1 alarm, 2 misses, 3 rejected. Fear: 2 hits, 1 miss, 6 rejected.
    assert found["ceiling"] == pytest.approx(
        {
            "accuracy": (6 / 9 + 8 / 9) / 2,
            "balanced_accuracy": ((3 / 5 + 3 / 4) / 2 + (2 / 3 + 1) / 2) / 2,
            "f1_binary": (6 / 9 + 4 / 5) / 2,
        }
    )


def test_without_votes_there_is_nothing_to_say() -> None:
    assert agreement({"valence": np.ones(3, np.float32)}, ("ang",)) is None
    unknown = votes_of([(np.nan, np.nan)], "ang hap")
    assert agreement(unknown, ("ang", "hap")) is None
    # Votes for a part of the classes only.
    assert agreement(votes_of([(3, 0)], "ang hap"), ("ang", "sad")) is None
