"""`fv2es shards check`: planted faults are found, and nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.suspects.neighbours import nearest
from fv2es_prep.shards.suspects.search import CHECKS, find_suspects
from fv2es_prep.shards.suspects.suspect import KINDS
from fv2es_prep.types import Example
from fv2es_train.commands.check import check
from tests.prep.suspicious import copied, cut, louder, make_examples, pictured, write_examples


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, dict[str, set[str]]]:
    """A dataset of 96 utterances, and kind -> ids of those with a fault of that kind."""
    examples, rng = make_examples(96), np.random.default_rng(1)
    ids: dict[str, set[str]] = defaultdict(set)

    def plant(kind: str, row: int, example: Example) -> None:
        examples[row] = example
        ids[kind].add(example.utterance.id)

    for row in range(10):
        plant("duplicate", 40 + row, copied(examples[40 + row], examples[row], rng))
        plant("cut", 50 + row, cut(examples[50 + row], row % 2 == 0))
    plant("clipped", 60, louder(examples[60], 20))
    plant("silent", 61, louder(examples[61], -60))
    plant("rate", 62, louder(examples[62], -35, slice(96, None)))
    shape = examples[63].faces.rgb.shape
    plant("pictures", 63, pictured(examples[63], np.full(shape, 90)))
    still = examples[64].faces.rgb
    plant("pictures", 64, pictured(examples[64], still[:1].repeat(len(still), 0)))
    said = replace(examples[65].utterance, transcript="word " * 60)
    plant("outlier-words", 65, Example(said, examples[65].label, **dict(examples[65])))
    strange = louder(louder(examples[66], -30, slice(0, 48)), 12, slice(48, None))
    plant("outlier-sound", 66, strange)
    checks = (np.indices((48, 48)).sum(0) // 8 % 2 * 220)[..., None]
    noise = rng.integers(0, 30, examples[67].faces.rgb.shape)
    plant("outlier-faces", 67, pictured(examples[67], checks + noise))
    # Of the speaker before.
    frames = len(examples[80].faces.rgb)
    light = rng.normal(0, 14, (frames, 6, 6, 3)).repeat(8, 1).repeat(8, 2)
    shown = np.clip(examples[71].faces.rgb.mean(0) + light, 0, 255)
    plant("face", 80, pictured(examples[80], shown))
    return write_examples(tmp_path_factory.mktemp("suspects") / "shards", examples), ids


@pytest.fixture(scope="module")
def found(planted) -> dict[str, set[str]]:
    ids = defaultdict(set)
    for suspect in find_suspects(planted[0], {*CHECKS} - {"label"}):
        ids[suspect.kind].add(suspect.utterance)
    return ids


# What is also far from all others.
FAR = {"outlier-sound": ("silent", "clipped", "rate"), "outlier-faces": ("pictures",)}
FAR["face"] = ("pictures", "outlier-faces")


@pytest.mark.parametrize("kind", sorted({*CHECKS} - {"cut", "label"}))
def test_each_planted_fault_is_found_and_nothing_else(planted, found, kind):
    also = set().union(*(planted[1][far] for far in FAR.get(kind, ())))
    assert planted[1][kind]
    assert found[kind] - also == planted[1][kind]


def test_spans_that_cut_speech_are_found(planted, found):
    assert len(planted[1]["cut"]) == 10
    assert len(found["cut"] & planted[1]["cut"]) >= 8
    assert found["cut"] <= planted[1]["cut"]


def test_the_command_tells_what_and_how_to_look_at_it(planted):
    app = typer.Typer()
    app.command()(check)
    shards = str(planted[0])
    told = CliRunner().invoke(app, [shards, "--json", "--jobs", "1", "--only", "silent"])
    assert told.exit_code == 1
    (one,) = json.loads(told.stdout)["suspects"]
    (name,) = planted[1]["silent"]
    assert (one["kind"], one["utterance"]) == ("silent", name)
    assert one["show"] == f"fv2es shards show {shards} {name} --image look.png"
    told = CliRunner().invoke(app, [shards, "--jobs", "1", "--only", "silent", "--max", "1"])
    assert told.exit_code == 0
    assert name in told.stdout and one["sentence"] in told.stdout and one["show"] in told.stdout


def test_a_clean_dataset_has_no_suspects(tmp_path):
    assert (
        find_suspects(
            write_examples(tmp_path / "shards", make_examples(40, seed=5)), {*CHECKS} - {"label"}
        )
        == []
    )


def test_an_unknown_kind_is_refused(planted):
    with pytest.raises(UsageError, match="unknown kind 'noise'") as error:
        find_suspects(planted[0], ["noise"])
    assert all(kind in error.value.hint for kind in KINDS)


def test_neighbours_within_groups_and_beyond():
    vectors = np.arange(6, dtype=np.float32)[:, None]
    groups = np.array([0, 0, 1, 1, 1, 2], np.int32)
    rows, distances = nearest(vectors, 2, groups)
    assert rows[0, 0] == 1 and rows[2].tolist() == [3, 4]
    assert distances[0].tolist() == [1, np.inf] and np.isinf(distances[5]).all()
    rows, distances = nearest(vectors, 2, groups, within=False)
    assert rows[1].tolist() == [2, 3] and distances[1].tolist() == [1, 2]


@pytest.mark.parametrize("count", [0, 1, 2, 1500])
def test_neighbours_are_those_of_a_plain_search(count):
    vectors = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    rows, distances = nearest(vectors, 2)
    assert rows.shape == (count, max(min(2, count - 1), 0))
    for row in range(0, count, 100):
        plain = np.linalg.norm(vectors - vectors[row], axis=1)
        plain[row] = np.inf
        np.testing.assert_allclose(distances[row], np.sort(plain)[: rows.shape[1]], rtol=1e-5)
        np.testing.assert_array_equal(plain[rows[row]], distances[row])
