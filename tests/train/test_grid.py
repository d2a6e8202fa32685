"""A real corpus trains: 60 recordings of one speaker of GRID, by way of a table.

Each sentence names one of four colours, which is the class. Five folds: each recording is test
once, and counts once: what a model says of the spans of a recording is averaged. Skipped where the
recordings are not there. Run it with ``-s`` to see the figures that docs/experiments.md has.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fv2es_prep.config import MelSettings
from fv2es_prep.media.audio import SoundReader
from fv2es_prep.splits import Split, write_split
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_train.evaluation.predictions import file_of, join, read_predictions
from fv2es_train.training.folds import train_folds
from pipelines.config import prep_config
from tests.train.conftest import tiny_config

GRID = Path(__file__).parents[3] / "shared/data/media/grid_s1"
FOLDS = 5
# Of each colour's 15 recordings 10 are train, 2 valid and 3 test.
VALID, TEST = 2, 3
# The colour follows the command, so it lies within some 0.6 s from where speech begins. The
# network sees the order of things within one chunk of the spectrum (0.4 s) only, so an utterance is
# one chunk. 40 recordings are few to learn from, so each is seven utterances, each a little later.
AFTER_S = tuple(round(0.03 * k, 2) for k in range(1, 8))
LENGTH_S = 0.39
EPOCHS = {"t": 12, "a": 12, "v": 5}

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.slow,
    pytest.mark.skipif(not GRID.is_dir(), reason="the GRID recordings are not there"),
]


@dataclass(frozen=True)
class Figures:
    """What was found with n recordings: accuracy, its binomial p against chance, macro AUC."""

    n: int
    accuracy: float
    p: float
    auc: float


def read_rows() -> list[dict[str, str]]:
    with (GRID / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def speech_begins_s(path: Path) -> float:
    """When a recording is first loud for 0.1 s on end: 45 % of the way from quiet to loud.

    Quiet and loud are the 10th and 95th percentile of the mean log power, smoothed over 0.05 s.
    """
    source = SoundReader(path)
    mel = mel_spectrum(source.span(0.0, 3.0, None), MelSettings())
    source.close()
    level = np.convolve(mel.log_power.astype(np.float64).mean(1), np.ones(4) / 4, "same")
    quiet, loud = np.percentile(level, [10, 95])
    above = level > quiet + 0.45 * (loud - quiet)
    rows = round(0.1 / mel.hop_s)
    return next(k for k in range(len(above)) if above[k : k + rows].all()) * mel.hop_s


def write_table(path: Path) -> Path:
    """Seven rows for each recording, which is a group of its own."""
    names = ("id", "video", "start_s", "end_s", "text", "labels", "speaker", "group")
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names)
        for row in read_rows():
            begins_s = speech_begins_s(GRID / row["video"])
            said = [row["transcript"], row["colour"], "s1", row["id"]]
            for k, after_s in enumerate(AFTER_S):
                start_s = round(begins_s + after_s, 4)
                span = [start_s, round(start_s + LENGTH_S, 4)]
                table.writerow([f"{row['id']}-{k}", GRID / row["video"], *span, *said])
    return path


def save_tokenizer(directory: Path) -> Path:
    """A token for each word of the transcripts."""
    words = sorted({word for row in read_rows() for word in row["transcript"].split()})
    names = ["<pad>", "<unk>", "[CLS]", "[SEP]", *words]
    ids = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, ids[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="[CLS]"
    )
    whole.save_pretrained(directory)
    return directory


def draw_folds(directory: Path) -> Path:
    """Each recording, with all its utterances, is test in one fold; each fold has all colours."""
    colours: dict[str, list[str]] = defaultdict(list)
    for row in read_rows():
        colours[row["colour"]].append(row["id"])
    rng = np.random.default_rng(0)
    drawn = {c: rng.permutation(sorted(ids)) for c, ids in sorted(colours.items())}
    directory.mkdir()
    for fold in range(FOLDS):
        subsets = defaultdict(list)
        for ids in drawn.values():
            turned = np.roll(ids, -TEST * fold).tolist()
            parts = (turned[:TEST], turned[TEST : TEST + VALID], turned[TEST + VALID :])
            for name, part in zip(("test", "valid", "train"), parts, strict=True):
                subsets[name] += [f"{rec}-{k}" for rec in part for k in range(len(AFTER_S))]
        ids_of = {name: tuple(sorted(ids)) for name, ids in subsets.items()}
        counts = {n: dict.fromkeys(sorted(colours), len(ids) // 4) for n, ids in ids_of.items()}
        split = Split("random", {"fold": fold}, **ids_of, class_counts=counts)
        write_split(split, directory / f"fold-{fold}.json")
    return directory


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, prepare) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    tokenizer = save_tokenizer(folder / "tokenizer")
    table = write_table(folder / "grid.csv")
    draw_folds(folder / "folds")
    given = {"raw": table, "out": folder / "shards", "tokenizer": str(tokenizer)}
    chosen = {"faces.detector": "fast", "frames.interval_s": 0.1}
    _, summary = prepare(prep_config("table", **given, **chosen))
    assert summary.prepared == 60 * len(AFTER_S)
    return folder


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def by_recording(run: Path, subset: str = "test") -> Figures:
    """The folds' predictions of a subset, a recording's as one: the mean of its logits.

    Each colour has as many recordings, so whatever does not listen is right in one of four.
    """
    folds = sorted(run.glob("fold-*"))
    found = join([read_predictions(file_of(fold, subset)) for fold in folds])
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(found.ids):
        rows[name.rpartition("-")[0]].append(row)
    logits = np.array([found.logits[own].mean(0) for own in rows.values()])
    truth = np.array([found.truth[own[0]] for own in rows.values()])
    right = int((logits.argmax(1) == truth.argmax(1)).sum())
    p = binomtest(right, len(rows), 1 / truth.shape[1], alternative="greater").pvalue
    return Figures(len(rows), right / len(rows), float(p), float(roc_auc_score(truth, logits)))


def measure(grid: Path, modality: str) -> tuple[dict, Figures]:
    """What `train_folds` says, and what was found on test by recordings."""
    run = grid / f"run-{modality}"
    asked = {"modalities": modality, "epochs": EPOCHS[modality], "early_stop": 0, "threads": 1}
    result = train_folds(tiny_config(grid / "shards", grid / "folds", run, **asked))
    assert not result["failed"]
    figures = by_recording(run)
    sys.stdout.write(f"\n{modality}: {result['mean']} {figures}\n")
    return result, figures


def test_words_are_learnt(grid):
    result, _ = measure(grid, "t")
    assert result["mean"]["average"]["f1_binary"] >= 0.95


def test_sound_is_clearly_above_chance(grid):
    _, found = measure(grid, "a")
    assert found.n == 60
    assert found.p < 1e-6
    assert found.auc >= 0.9


def test_lips_are_reported(grid):
    _, found = measure(grid, "v")
    assert np.isfinite(found.auc)
