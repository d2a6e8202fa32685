"""Every option of the published program has a field, which is read by the model that it names."""

from __future__ import annotations

import re
from pathlib import Path

from fv2es_prep.utils.fields import fields_of
from fv2es_train.config import TrainConfig
from fv2es_train.training.run_config import preset_of

PAGE = Path(__file__).parents[2] / "docs/published-options.md"
OPTIONS = [
    "batch-size",
    "learning-rate",
    "weight-decay",
    "epochs",
    "early-stop",
    "cuda",
    "clip",
    "scheduler",
    "seed",
    "loss",
    "optim",
    "text-lr-factor",
    "model",
    "text-model-size",
    "fusion",
    "feature-dim",
    "hfc-sizes",
    "trans-dim",
    "trans-nlayers",
    "trans-nheads",
    "audio-feature-type",
    "num-emotions",
    "img-interval",
    "hand-crafted",
    "text-max-len",
    "datapath",
    "dataset",
    "modalities",
    "valid",
    "test",
    "ckpt",
    "ckpt-mod",
    "dropout",
    "num-layers",
    "hidden-size",
    "bidirectional",
    "gru",
]


def test_every_published_option_is_on_the_page_and_its_fields_exist() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `-")]
    named = [word for row in rows for word in re.findall(r"`--([a-z-]+)`", row[0])]
    assert sorted(named) == sorted(OPTIONS)
    known = {
        name: set(fields_of(TrainConfig, preset_of({"model.name": name})))
        for name in ("fv2es", "lf-rnn")
    }
    for row in rows:
        here = row[-1]
        if "fv2es " in here:
            continue
        model = "lf-rnn" if "of `lf-rnn`" in here else "fv2es"
        paths = re.findall(r"`((?:model\.)?[a-z_]+)`", here)
        assert paths, row
        assert set(paths) - {"lf"} <= known[model], row
