"""What `import fv2es_train` offers, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fv2es_train
from tests.train.conftest import Corpus

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(fv2es_train.__all__) == fv2es_train.__all__
    for name in fv2es_train.__all__:
        assert getattr(fv2es_train, name).__doc__, name
    assert set(fv2es_train.__all__) <= set(dir(fv2es_train))
    with pytest.raises(AttributeError, match="nothing"):
        _ = fv2es_train.nothing


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, fv2es_train; fv2es_train.TrainConfig; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_run_is_loaded_and_applied_to_a_batch(corpus: Corpus, run: Path) -> None:
    dataset = fv2es_train.ShardDataset(corpus.shards)
    checkpoint = fv2es_train.load_checkpoint(run)
    batch = fv2es_train.collate([dataset[0], dataset[1]])
    assert checkpoint.model(batch).shape == (2, len(checkpoint.thresholds))
    found = fv2es_train.evaluate(corpus.shards, corpus.split, run)
    assert np.isfinite(found["average"]["accuracy"])


def test_a_batch_and_a_dataset_describe_themselves_in_two_lines(corpus: Corpus) -> None:
    dataset = fv2es_train.ShardDataset(corpus.shards)
    batch = fv2es_train.collate([dataset[number] for number in range(5)])
    first, second = repr(batch).splitlines()
    assert first == "Batch of 5 utterances on cpu: utt000, utt001 ... utt004"
    assert f"faces {tuple(batch.faces.shape)}, mel" in second and "label (5, 6)" in second
    first, second = repr(dataset).splitlines()
    assert first == (
        "ShardDataset of 36 utterances in 4 shards of shards: utt000, utt001 ... utt035"
    )
    assert second.startswith("  classes ang, exc, fru, hap, neu, sad; ")
