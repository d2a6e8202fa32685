"""Faults planted in the prepared demo corpus, and how many of them `shards check` finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fv2es_prep.demo import make_corpus
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.suspects.search import find_suspects
from fv2es_prep.types import Example
from fv2es_train.commands.check import check
from fv2es_train.evaluation.predictions import Predictions, file_of, write_predictions
from tests.prep.suspicious import (
    CLASSES,
    copied,
    cut,
    make_examples,
    pictured,
    relabelled,
    write_examples,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, text_model: Path, prepare, options_for) -> Path:
    """The demo corpus of 240 utterances."""
    folder = tmp_path_factory.mktemp("whole")
    make_corpus(folder / "corpus")
    prepare(options_for(folder / "corpus", folder / "shards", text_model), "local:2")
    return folder / "shards"


def test_faults_planted_in_the_demo_corpus(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, examples = read_index(whole), list[Example]()
    for entry in index.shards:
        with ShardReader(whole / entry.name) as reader:
            examples += [reader.read(row) for row in range(len(reader))]
    assert len(examples) == 240
    rng, planted = np.random.default_rng(3), defaultdict[str, set[str]](set)
    rows = rng.permutation(240).tolist()

    def plant(kind: str, count: int, change: Callable[[int], Example]) -> None:
        for row in (rows.pop() for _ in range(count)):
            examples[row] = change(row)
            planted[kind].add(examples[row].utterance.id)

    def another(row: int) -> Example:
        speaker = examples[row].utterance.speaker
        others = (place for place in rows if examples[place].utterance.speaker != speaker)
        # Each is shown once.
        rows.remove(place := next(others))
        return examples[place]

    sources = [examples[rows.pop()] for _ in range(10)]
    left = iter(sources)
    plant("duplicate", 10, lambda row: copied(examples[row], next(left), rng))
    plant("cut", 10, lambda row: cut(examples[row], row % 2 == 0))
    plant("face", 10, lambda row: shown(examples[row], another(row)))
    classes = index.label_classes
    plant("label", 30, lambda row: relabelled(examples[row], classes, int(rng.integers(1, 6))))
    faulty = write_examples(tmp_path / "shards", examples, classes, index.settings)
    named = defaultdict[str, list[str]](list)
    for suspect in find_suspects(faulty):
        named[suspect.kind].append(suspect.utterance)
    assert len(planted["label"] & {*named["label"][:45]}) >= 24
    # The later one of a pair is named.
    pairs = planted["duplicate"] | {source.utterance.id for source in sources}
    assert len(pairs & {*named["duplicate"]}) == 10
    assert len(planted["cut"] & {*named["cut"]}) >= 8
    assert len(planted["face"] & {*named["face"]}) >= 9
    # The pictures of a duplicate may be another speaker's.
    assert {*named["face"]} <= planted["face"] | planted["duplicate"]


def shown(example: Example, other: Example) -> Example:
    """With the other's faces."""
    rgb = other.faces.rgb[np.arange(len(example.faces.rgb)) % len(other.faces.rgb)]
    return pictured(example, rgb)


def test_a_whole_corpus_has_hardly_a_doubtful_label_and_no_strange_face(whole: Path) -> None:
    assert len(find_suspects(whole, ["label"])) <= 3
    assert find_suspects(whole, ["face"]) == []


def test_the_runs_of_a_cross_validation_doubt_labels(tmp_path: Path) -> None:
    examples = make_examples(60)
    truth = np.stack([example.label for example in examples])
    wrong = relabelled(examples[7], CLASSES, 1)
    shards = write_examples(tmp_path / "shards", [*examples[:7], wrong, *examples[8:]])
    runs = [tmp_path / "a", tmp_path / "b"]
    for number, run in enumerate(runs):
        place = slice(number, None, 2)
        part = truth[place]
        probability = np.where(part, 0.9, 0.05)
        ids = tuple(example.utterance.id for example in examples[place])
        names = (("",) * len(ids),) * 3
        logits = np.log(probability).astype(np.float32)
        (run / "predictions").mkdir(parents=True)
        predictions = Predictions(CLASSES, ids, *names, part, part, probability, logits)
        write_predictions(file_of(run, "test"), predictions)
    app = typer.Typer()
    app.command()(check)
    words = [str(shards), "--only", "label", "--run", str(runs[0]), "--run", str(runs[1])]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 1, told.output
    assert [line for line in told.stdout.splitlines() if line.startswith("label")] == [
        line for line in told.stdout.splitlines() if wrong.utterance.id in line and "but" in line
    ]
    # Half of the utterances are in no test subset.
    assert CliRunner().invoke(app, [*words[:-2], "--max", "1"]).exit_code == 0
