"""Ratings as targets: their metrics, their loss, and a training with and without classes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from fv2es_prep.errors import TrainError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.splits import Split, read_split, write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.types import Example
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.evaluate import evaluate
from fv2es_train.evaluation.measurement import Bootstrap
from fv2es_train.evaluation.predictions import (
    Predictions,
    file_of,
    read_predictions,
    write_predictions,
)
from fv2es_train.evaluation.rating_metrics import measure_ratings
from fv2es_train.evaluation.tables import format_metrics
from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint
from fv2es_train.predict.rating_scales import rating_scales
from fv2es_train.predict.scoring import Scorer
from fv2es_train.training.loop import train
from fv2es_train.training.loss import RatingLoss
from fv2es_train.training.run_config import train_config
from tests.train.conftest import CLASSES, make_examples, write_shards

OFF = Bootstrap(resamples=0)


def test_metrics_are_those_of_the_formulas_and_of_the_libraries() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=50).astype(np.float32)
    p = (0.6 * y + rng.normal(size=50) * 0.4 + 0.2).astype(np.float32)
    y[7] = np.nan
    found = measure_ratings({"valence": y}, {"valence": p}, Bootstrap(200))["valence"]
    t, g = y[np.isfinite(y)].astype(float), p[np.isfinite(y)].astype(float)
    expected = 2 * np.cov(t, g, ddof=0)[0, 1] / (t.var() + g.var() + (t.mean() - g.mean()) ** 2)
    assert found["n"] == 49
    assert found["ccc"] == pytest.approx(expected, abs=1e-9)
    assert found["pearson"] == pytest.approx(pearsonr(t, g).statistic, abs=1e-9)
    assert found["mae"] == pytest.approx(np.abs(t - g).mean(), abs=1e-9)
    for metric in ("ccc", "pearson", "mae"):
        low, high = found["interval"][metric]
        assert low < found[metric] < high


def test_what_is_undefined_is_none() -> None:
    truth, same = np.array([1, 2, np.nan], np.float32), np.ones(3, np.float32)
    constant = measure_ratings({"v": truth}, {"v": same}, OFF)["v"]
    assert constant["pearson"] is None and constant["ccc"] == 0 and constant["interval"] is None
    nobody = measure_ratings({"v": truth * np.nan}, {"v": same}, OFF)["v"]
    assert (nobody["n"], nobody["mae"]) == (0, None)


def test_sentiments_have_both_conventions_and_seven_classes() -> None:
    truth = np.array([-3, -0.4, 0, 0.5, 1, 2.6], np.float32)
    guess = np.array([-4, 0.1, 0.2, -0.1, 1.4, 3.2], np.float32)
    found = measure_ratings({"sentiment": truth}, {"sentiment": guess}, OFF)["sentiment"]
    assert found["acc2_nonnegative"] == pytest.approx(4 / 6)
    signed = truth != 0
    assert found["acc2_nonzero"] == pytest.approx(3 / 5)
    for kind, t, g in (
        ("f1_nonnegative", truth >= 0, guess >= 0),
        ("f1_nonzero", truth[signed] > 0, guess[signed] > 0),
    ):
        assert found[kind] == pytest.approx(f1_score(t, g, average="weighted"))
    # Rounded: -3 0 0 0 1 3, and -3 0 0 0 1 3, with halves to the even number.
    assert found["acc7"] == 1


def test_the_loss_leaves_unknown_ratings_out() -> None:
    loss = RatingLoss([2, 0], torch.tensor([[1.0, 3.0], [2.0, 0.5]]), 0.5, "mse")
    ratings = torch.tensor([[3.5, 9.0, 5.0], [torch.nan, 9.0, 1.0], [torch.nan] * 3])
    outputs = torch.tensor([[1.0, 1.0], [0.5, 7.0], [4.0, 4.0]], requires_grad=True)
    found = loss.of_each(outputs, ratings)
    # In units of the deviation: column 2 is (5 - 1) / 2 = 2 and 0, column 0 is 1.
    torch.testing.assert_close(found, torch.tensor([(1 + 0) / 2, 0.25, 0.0]))
    found.sum().backward()
    assert torch.isfinite(outputs.grad).all() and not outputs.grad[2].any()
    absolute = replace(loss, kind="l1").of_each(outputs, ratings)
    torch.testing.assert_close(absolute, torch.tensor([0.5, 0.5, 0.0]))


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Shards whose valence is seen in the spectrum, where it is known, and a split."""
    rng, place = np.random.default_rng(5), tmp_path_factory.mktemp("rated")
    examples = make_examples(72)
    for number, example in enumerate(examples):
        kind = number % 6
        valence = np.nan if number % 9 == 0 else 1.0 + 0.6 * kind + rng.normal() * 0.05
        utterance = replace(example.utterance, ratings=(4.0, valence))
        examples[number] = Example(utterance, example.label, {}, **example)
    shards = write_shards(place / "shards", examples, ratings=("flat", "valence"))
    split = next(build_splits(read_catalogue(shards), Rule(allow_empty_class=True)))
    write_split(split, place / "split.json")
    return shards, place / "split.json"


@pytest.mark.parametrize("model", ["linear", "lf-rnn"])
def test_a_rating_is_learned_beside_the_classes_and_alone(
    rated: tuple[Path, Path], model: str, tmp_path: Path
) -> None:
    shards, split = rated
    share = 0.5 if model == "linear" else 1.0
    run = tmp_path / "run"
    given = {"shards": shards, "split": split, "out": run, "ratings": ("valence",)}
    if model == "lf-rnn":
        given |= {"epochs": 8, "lr": 3e-3}
    result = train(train_config(model, rating_share=share, model={"features": ("mel",)}, **given))
    test = result["test"]
    assert test["ratings"]["valence"]["ccc"] > 0.8
    assert test["ratings"]["valence"]["n"] < test["n"]
    assert test["ratings"]["valence"]["mae"] < 0.5
    assert ("f1_binary" in format_metrics(test)) == (share < 1)
    assert "valence" in format_metrics(test) and "valence" in (run / "README.md").read_text()
    again = evaluate(shards, split, run)
    assert again["ratings"] == test["ratings"]
    # The file gives all back.
    path = file_of(run, "test")
    found = read_predictions(path)
    assert found.rating_names == ("valence",)
    write_predictions(tmp_path / "again.csv", found)
    assert path.read_bytes() == (tmp_path / "again.csv").read_bytes()
    header = path.read_text().splitlines()[0].split(",")
    assert header[-2:] == ["rated_valence", "rating_valence"]
    kept = load_checkpoint(run)
    if share == 1:
        with pytest.raises(UsageError, match="learned only ratings"):
            Scorer(kept)
    else:
        check_scores(kept, ShardDataset(shards), found, read_split(split))


def check_scores(kept: Checkpoint, dataset: ShardDataset, found: Predictions, split: Split) -> None:
    """`predict` gives the ratings of `eval`; the parts of a rating add up to it."""
    scorer, examples = Scorer(kept), dataset.subset(found.ids)
    assert len(scorer.classes) == 6
    ((mean, _),) = kept.model.config.rating_scale
    for row in range(5):
        scores = scorer.score(examples[row])
        assert scores.ratings["valence"] == pytest.approx(found.rating[row, 0], abs=1e-5)
        parts = scores.rating_contribution["valence"]
        assert mean + sum(parts.values()) == pytest.approx(scores.ratings["valence"])
        assert list(scores.probability) == list(scores.contribution) == [*CLASSES]
    (scale,) = rating_scales(kept.model.config)
    known = dataset.subset(split.train).ratings["valence"]
    assert (scale.low, scale.high) == (np.nanmin(known), np.nanmax(known))
    assert re.fullmatch(r"valence from \S+ \(negative\) to \S+ \(positive\)", str(scale))
    nothing = scorer.score(examples[0], "a")
    assert nothing.ratings == nothing.probability == {}


def test_a_rating_that_cannot_be_learned_is_refused(
    rated: tuple[Path, Path], tmp_path: Path
) -> None:
    shards, split = rated
    given = {"shards": shards, "split": split, "out": tmp_path / "run"}
    for name, error, said in (
        ("arousal", UsageError, "the shards have no rating 'arousal'"),
        ("flat", TrainError, "has the same value, 4, everywhere in the train subset"),
    ):
        with pytest.raises(error, match=said):
            train(train_config("linear", model={"features": ("mel",)}, ratings=(name,), **given))
