"""Soft targets: the shares of the raters, the loss of them, and what a training gains by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from fv2es_prep.corpora.iemocap import RATINGS, LabelLine, parse_labels
from fv2es_prep.errors import TrainError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.splits import read_split, write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.types import Example
from fv2es_train.bench.bench_config import BenchConfig
from fv2es_train.bench.bench_forms import format_bench
from fv2es_train.bench.trainings import bench
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.data.votes import rater_shares
from fv2es_train.evaluation.agreement import SHARE_METRICS, agreement, measure_shares
from fv2es_train.evaluation.inference import loader_of, run_model
from fv2es_train.evaluation.measurement import Bootstrap
from fv2es_train.evaluation.tables import format_folds, format_metrics
from fv2es_train.models.families import build
from fv2es_train.training.folds import train_folds
from fv2es_train.training.loop import train
from fv2es_train.training.loss import Loss, soft_shares
from fv2es_train.training.progress import Progress
from fv2es_train.training.run_config import train_config
from tests.train.conftest import CLASSES, make_example, write_shards

# What an evaluator of IEMOCAP calls each of `CLASSES`.
WORDS = ("Anger", "Excited", "Frustration", "Happiness", "Neutral", "Sadness")
OFF = Bootstrap(resamples=0)
NAMES = ("valence", "votes_ang", "votes_hap", "votes_oth")
VOTES = torch.tensor([[2.5, 2, 1, 1], [1.0, 0, 0, 3], [2.0, *[torch.nan] * 3]])


def test_shares_are_of_all_votes_of_the_classes_or_of_the_raters() -> None:
    free = rater_shares(NAMES, ("ang", "hap"), exclusive=False)
    only = rater_shares(NAMES, ("ang", "hap"), exclusive=True)
    assert free and only
    nobody = [torch.nan, torch.nan]
    torch.testing.assert_close(
        free.of(VOTES), torch.tensor([[0.5, 0.25], [0, 0], nobody]), equal_nan=True
    )
    # All voted for what is no class of the dataset: a choice among the classes is not known.
    torch.testing.assert_close(
        only.of(VOTES), torch.tensor([[2 / 3, 1 / 3], nobody, nobody]), equal_nan=True
    )
    several = rater_shares(("raters", "votes_ang", "votes_hap"), ("ang", "hap"), exclusive=False)
    assert several and several.of(torch.tensor([[4.0, 4, 1]])).tolist() == [[1, 0.25]]
    assert rater_shares(NAMES, ("ang", "sad"), exclusive=True) is None


@pytest.mark.parametrize("kind", ["bce", "ce", "mse"])
def test_the_loss_is_that_of_the_shares_and_of_the_label_without_votes(kind: str) -> None:
    shares = rater_shares(NAMES, ("ang", "hap"), exclusive=kind == "ce")
    weights = torch.tensor([3.0, 0.5]), torch.tensor([0.7, 2.0])
    soft, hard = Loss(*weights, kind=kind, shares=shares), Loss(*weights, kind=kind)
    logits, label = torch.randn(3, 2), torch.tensor([[1.0, 0], [0, 1], [0, 1]])
    found, plain = soft.of_each(logits, label, VOTES), hard.of_each(logits, label)
    q = torch.tensor([2 / 3, 1 / 3] if kind == "ce" else [0.5, 0.25])
    p = torch.sigmoid(logits[0])
    expected = {
        "bce": -(weights[0] * q * p.log() + weights[1] * (1 - q) * (1 - p).log()).mean(),
        "ce": -(q * logits[0].log_softmax(0)).sum(),
        "mse": (logits[0] - q).square().mean(),
    }[kind]
    torch.testing.assert_close(found[0], expected)
    assert found[2] == plain[2]
    # Valid is measured against the labels.
    assert soft.of_each(logits, label, VOTES, plain=True).equal(plain)


@pytest.mark.parametrize("exclusive", [True, False])
def test_distances_are_those_of_scipy(exclusive: bool) -> None:
    rng = np.random.default_rng(3)
    q, p = rng.dirichlet(np.ones(4), 20).round(1), rng.dirichlet(np.ones(4), 20)
    q[:, 0] += 1 - q.sum(axis=1)
    q[5] = np.nan
    found = measure_shares(q, p, exclusive, Bootstrap(100))
    pairs = [(a, b) for a, b in zip(q, p, strict=True) if np.isfinite(a).all()]
    if not exclusive:
        cells = [cell for pair in pairs for cell in zip(*pair, strict=True)]
        pairs = [(np.array([a, 1 - a]), np.array([b, 1 - b])) for a, b in cells]
    assert found is not None and found["n"] == 19
    kl = np.mean([entropy(a, b) for a, b in pairs])
    assert found["kl"] == pytest.approx(kl, abs=1e-9)
    own = np.mean([entropy(a) for a, _ in pairs])
    assert found["cross_entropy"] == pytest.approx(kl + own, abs=1e-9)
    distance = np.mean([jensenshannon(a, b, base=2) for a, b in pairs])
    assert found["jensen_shannon"] == pytest.approx(distance, abs=1e-7)
    for name, (low, high) in found["interval"].items():
        assert low < found[name] < high
    assert measure_shares(q * np.nan, p, exclusive, OFF) is None
    certain = measure_shares(np.eye(4), 1 - np.eye(4)[::-1], False, OFF)
    assert certain is not None and np.isfinite(certain["kl"])


def evaluation_of(chosen: list[str]) -> str:
    """A turn of an IEMOCAP label file with these choices of three evaluators."""
    lines = [f"C-E{n}:\t{word};\t()" for n, word in enumerate(chosen, 2)]
    return "\n".join(["[1.0 - 2.0]\tSes01F_impro01_F000\txxx\t[2.5, 2.5, 2.0]", *lines])


def ambiguous(count: int) -> Iterator[Example]:
    """Utterances between two classes, as strongly as three raters are likely to choose each.

    The label is the choice of most; every tenth has no evaluators' lines.
    """
    rng = np.random.default_rng(7)
    for number in range(count):
        first, second = number % 6, (number + 1) % 6
        share = rng.choice([0.5, 0.65, 0.8, 1.0])
        picks = np.where(rng.random(3) < share, first, second)
        kind = int(np.bincount(picks).argmax())
        example = make_example(f"utt{number:03d}", kind, rng)
        power = rng.normal(-8, 1, (60, 128))
        power[:, 20 * first : 20 * first + 20] += 5 * share
        power[:, 20 * second : 20 * second + 20] += 5 * (1 - share)
        chosen = [WORDS[pick] for pick in picks] if number % 10 else []
        (turn,) = parse_labels(evaluation_of(chosen))
        assert isinstance(turn, LabelLine)
        mel = replace(example.mel, log_power=power.astype(np.float16))
        utterance = replace(example.utterance, ratings=turn.ratings)
        yield Example(utterance, example.label, {}, **{**example, "mel": mel})


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Shards of ambiguous utterances, and a split."""
    place = tmp_path_factory.mktemp("ambiguous")
    shards = write_shards(place / "shards", list(ambiguous(240)), per_shard=80, ratings=RATINGS)
    split = next(build_splits(read_catalogue(shards), Rule(allow_empty_class=True)))
    write_split(split, place / "split.json")
    return {"shards": shards, "split": place / "split.json"}


class Notes(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def trained(rated: dict[str, Path], out: Path, targets: str, model: str, **more: Any) -> Any:
    notes = Notes()
    given = {"features": ("mel",), **more.pop("model", {})}
    config = train_config(model, **rated, out=out, targets=targets, model=given, **more)
    return train(config, notes), notes.said


def test_soft_targets_bring_a_model_nearer_to_the_raters(rated: dict[str, Path]) -> None:
    dataset = ShardDataset(rated["shards"])
    learnt, rest = dataset.subset(dataset.ids[:180]), dataset.subset(dataset.ids[180:])
    ratings = np.stack([*rest.ratings.values()], axis=1)
    found = {}
    for targets in ("hard", "soft"):
        given = {**rated, "out": Path("run"), "model": {"features": ("mel",)}}
        config = train_config("linear", targets=targets, **given)
        soft = soft_shares(config, learnt)
        model = build(replace(config.model, label_classes=CLASSES), learnt.index.settings)
        model.fit(learnt)
        logits = run_model(model, loader_of(rest, model, 30), torch.device("cpu")).logits
        shares = rater_shares(RATINGS, CLASSES, exclusive=True)
        assert shares
        known = shares.of(torch.from_numpy(ratings)).double().numpy()
        found[targets] = measure_shares(known, logits.double().softmax(1).numpy(), True, OFF)
    assert soft is not None and soft[1] == 18
    assert found["soft"]["n"] == 54
    assert found["soft"]["kl"] < 0.95 * found["hard"]["kl"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["linear", "lf-rnn"])
def test_a_run_of_soft_targets_says_so(rated: dict[str, Path], tmp_path: Path, model: str) -> None:
    more = {"loss": "ce", "epochs": 15, "lr": 3e-3, "keep": "last", "early_stop": 0}
    (hard, _), (soft, said) = (
        trained(rated, tmp_path / kind, kind, model, **more if model != "linear" else {})
        for kind in ("hard", "soft")
    )
    one, two = (found["test"]["rater_shares"] for found in (hard, soft))
    assert two["n"] == one["n"] < soft["test"]["n"]
    for metric in SHARE_METRICS:
        assert two[metric] < one[metric]
    assert hard["without_votes"] is None and soft["without_votes"] > 5
    assert f"{soft['without_votes']} of " in said[0] and "no rater votes" in said[0]
    shown = " ".join(format_metrics(soft["test"]).split())
    assert f"KL {two['kl']:.3f}" in shown and "one rater against the others" in shown
    card = (tmp_path / "soft/README.md").read_text()
    assert f"the label for {soft['without_votes']} utterances" in card
    assert "Distance to the rater shares" in card


@pytest.mark.slow
def test_the_ceiling_stands_beside_folds_and_bench(rated: dict[str, Path], tmp_path: Path) -> None:
    split, folds = read_split(rated["split"]), tmp_path / "folds"
    folds.mkdir()
    write_split(replace(split, test=split.test[:20]), folds / "fold-0.json")
    write_split(replace(split, test=split.test[20:]), folds / "fold-1.json")
    expected = agreement(ShardDataset(rated["shards"]).subset(split.test).ratings, CLASSES)
    assert expected is not None
    place = {"shards": rated["shards"], "split": folds}
    model = {"features": ("mel",)}
    many = train_folds(train_config("linear", **place, out=tmp_path / "runs", model=model))
    rows = {"models": ("linear",), "modalities": ("a",), "features": ("mel",), "resamples": 50}
    table = bench(BenchConfig(**place, out=tmp_path / "bench", **rows))
    for result, text in ((many, format_folds(many)), (table, format_bench(table, wide=True))):
        assert result["raters"] == expected
        assert "one rater against the others" in text.replace("\n ", "")
    assert "one rater against the others" in (tmp_path / "bench/table.md").read_text()


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    examples = [make_example(f"utt{n:02d}", n % 6, rng) for n in range(24)]
    votes = tuple(f"votes_{name}" for name in CLASSES)
    unvoted = [
        Example(replace(e.utterance, ratings=(float("nan"),) * 6), e.label, {}, **e)
        for e in examples
    ]
    for name, chosen, names, error, said in (
        ("none", examples, (), UsageError, "the shards have no rating votes_ang"),
        ("empty", unvoted, votes, TrainError, "no utterance of the train subset has rater votes"),
    ):
        shards = write_shards(tmp_path / name, chosen, ratings=names)
        split = next(build_splits(read_catalogue(shards), Rule(allow_empty_class=True)))
        write_split(split, tmp_path / "split.json")
        places = {"shards": shards, "split": tmp_path / "split.json"}
        with pytest.raises(error, match=said):
            trained(places, tmp_path / "run", "soft", "linear")
