"""The text that `fv2es init` prints: a recipe for a corpus, with a comment for each line."""

from __future__ import annotations

from pathlib import Path

from fv2es_prep.corpora import CORPORA
from fv2es_prep.utils.configuration import toml_value
from fv2es_prep.utils.files import whole_path

_TEXT = """\
# From a raw corpus to a table of models: fv2es run THIS_FILE (first with --dry-run).
# {title}
# A step whose inputs are unchanged is skipped; the same command continues after an interruption.
# Paths are relative to the directory in which fv2es runs.
corpus = {corpus}
# Directory of shards, splits, runs and tables.
out = {out}

# Options of `fv2es prep {name}`; all of them: fv2es config show prep {name} {example}
[prep]
raw = {raw}
# Classes that become label columns{classes}.
{labels}
# A directory, or a name at the Hugging Face hub.
tokenizer = "albert-base-v2"
# faces, mel and tokens are for the FV2ES family, the others for models on features; mfcc is made of
# waveform, which about doubles the shards.
stages = ["faces", "mel", "tokens", "landmarks", "waveform", "mfcc"]
# Processes; inline is this one, slurm:16 an array job.
executor = "local"

# Options of `fv2es splits build`; or file = "split.json", or lists = ["published/lists"].
[split]
{split}

# What is trained: models x modalities x seeds x folds. The first model is the baseline.
[train]
# fv2es is the published model; fv2es-lite is small and learns from some hundred utterances.
models = ["linear", "fv2es-lite"]
# Subsets of t (text), a (audio), v (video), e.g. ["a", "ta", "tav"], or ["all"] for all seven.
modalities = ["tav"]
seeds = [0, 1]
# Stages that the models on features read.
features = ["mfcc", "landmarks", "tokens"]
# Trainings at a time, each in a process of its own.
jobs = 1
# Options of `fv2es train` for all models; below [train.MODEL] for one.
# epochs = 10
# device = "cuda"
# [train.fv2es-lite]
# batch_size = 4

[eval]
# Bootstrap resamples of the intervals.
resamples = 1000
# metrics = ["single_label.accuracy", "single_label.balanced_accuracy"]

[table]
# One row per model, instead of a block per metric.
wide = false
"""


def starter(corpus: str, raw: Path) -> str:
    """A recipe with the defaults of a corpus; UsageError if the corpus is unknown."""
    found = CORPORA.load(corpus)
    example = found.example.split()[0]
    return _TEXT.format(
        title=found.title,
        name=corpus,
        corpus=toml_value(corpus),
        out=toml_value(f"{corpus}-recipe"),
        raw=toml_value(whole_path(raw)),
        example=example,
        classes="" if found.classes else "; empty: all that occur",
        labels=f"labels = {toml_value(found.classes)}",
        split=found.split,
    )
