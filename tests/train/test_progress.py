"""What training shows, on a terminal and elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

from fv2es_train.training.loop import train
from fv2es_train.training.progress import Bar, Lines, Step, progress_for
from tests.train.conftest import Corpus, options_of

STEP = Step(1, 2, 3, 4, 0.5, 12.25, 3661)
RECORD = {
    "epoch": 1,
    "train_loss": 0.5,
    "valid_loss": 0.4,
    "seconds": 1.0,
    "utterances_per_s": 12.25,
    "best": True,
    "valid": {"f1_binary": None},
}


def test_progress_is_lines_where_there_is_no_terminal(corpus: Corpus, tmp_path: Path) -> None:
    stream = io.StringIO()
    train(options_of(corpus, tmp_path / "run", modalities="t"), progress_for(stream))
    lines = stream.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert "valid f1_binary" in lines[0] and "utterances/s" in lines[0]
    assert " left" not in lines[1]


def test_a_long_epoch_says_now_and_then_where_it_is() -> None:
    stream = io.StringIO()
    Lines(stream).step(STEP)
    assert stream.getvalue() == ""
    Lines(stream, every_s=0).step(STEP)
    said = "epoch 1/2  batch 3/4  loss 0.5000  12.2 utterances/s, about 61 min left\n"
    assert stream.getvalue() == said


def test_progress_is_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    bar = progress_for(stream)
    assert isinstance(bar, Bar) and isinstance(progress_for(io.StringIO()), Lines)
    bar.step(STEP)
    bar.epoch(RECORD, 60)
    bar.close()
    assert "epoch 1: train loss" in stream.getvalue()
    assert "about 60 s left" in stream.getvalue()
