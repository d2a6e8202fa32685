"""Warm means: the first video loads and compiles nothing more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import gc
import sys
from pathlib import Path
from fv2es_prep.stages import tokens
from fv2es_train.predict import speech
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span

gc.disable()  # it only takes time
run, tokenizer, video, faces = sys.argv[1:]
predictor = Predictor.load(Path(run), "cpu", tokenizer, "none")
predictor.warm()
from fv2es_prep.detectors import compiled

loops = [compiled.fill_crops, compiled.suppress]

def state():
    kept = [tokens.load_tokenizer, speech._network]
    return [len(loop.signatures) for loop in loops], [one.cache_info().misses for one in kept]

before, modules = state(), set(sys.modules)
heard = list(predictor.predict(Request(Path(video), faces=faces)))
assert heard, "somebody speaks"
list(predictor.predict(Request(Path(video), spans=(Span(0, 1, "you"),), faces=faces)))
assert state() == before, (state(), before)
assert min(before[0]) == 1 and before[1] == [1, 1], before
print(*sorted(set(sys.modules) - modules))
"""


@pytest.mark.slow
def test_the_first_video_loads_nothing(
    trained: Callable[[str], Path], text_model: Path, talk: Path
) -> None:
    command = [sys.executable, "-c", PROGRAM, trained("tav"), text_model, talk, "all"]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
