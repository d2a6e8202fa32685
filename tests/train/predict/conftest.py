"""A short run on a small demo corpus, and media to try it on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from fv2es_prep.shards.reader import read_catalogue
from fv2es_prep.splits import build_split, write_split
from fv2es_prep.types import View
from fv2es_train.options import TrainOptions
from fv2es_train.predict.predictor import Predictor
from fv2es_train.train import train

NAME = "Ses01F_impro01"
LEFT = View("left", 224, 0)


def ffmpeg(*arguments: str | Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of one dialogue with six labelled turns each."""
    from fv2es_prep.demo import make_corpus

    root = tmp_path_factory.mktemp("demo")
    return make_corpus(root, sessions=3, dialogues=1, turns=6)


@pytest.fixture(scope="session")
def demo_shards(
    demo: Path,
    text_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    prepare: Callable[..., Any],
    options_for: Callable[..., Any],
) -> Path:
    out = tmp_path_factory.mktemp("predict") / "shards"
    prepare(options_for(demo, out, text_model))
    return out


@pytest.fixture(scope="session")
def trained(
    demo_shards: Path, text_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A short run on some modalities, trained once each."""
    place = tmp_path_factory.mktemp("runs")
    write_split(build_split(read_catalogue(demo_shards), "random"), place / "split.json")
    done: dict[str, Path] = {}

    def run_of(modalities: str) -> Path:
        if modalities not in done:
            done[modalities] = place / modalities
            split, encoder = place / "split.json", str(text_model)
            asked: dict[str, Any] = {"epochs": 1, "modalities": modalities, "batch_size": 4}
            asked |= {"text_encoder": encoder if "t" in modalities else None}
            train(TrainOptions(demo_shards, split, place / modalities, "fv2es-tiny", **asked))
        return done[modalities]

    return run_of


@pytest.fixture(scope="session")
def predictor(trained: Callable[[str], Path], text_model: Path) -> Predictor:
    return Predictor.load(trained("tav"), "cpu", str(text_model), "none")


@pytest.fixture(scope="session")
def files(demo: Path) -> tuple[Path, Path]:
    """The picture and the sound of one recording."""
    dialog = demo / "Session1" / "dialog"
    return dialog / f"avi/DivX/{NAME}.avi", dialog / f"wav/{NAME}.wav"


@pytest.fixture(scope="session")
def talk(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of it in one file."""
    path = tmp_path_factory.mktemp("talk") / "talk.mp4"
    ffmpeg("-i", files[0], "-i", files[1], "-t", "8", "-c:v", "copy", "-c:a", "aac", path)
    return path
