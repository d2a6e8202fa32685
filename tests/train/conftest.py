"""Small examples whose class can be seen, heard and read, and shards and splits made of them.

The class moves the colour of the faces, a band of the spectrum and the words, each with noise, so
that a model with any one modality can learn it in seconds.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.index import make_index, write_index
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.splits import Split, write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.types import Example, Faces, MelSpectrum, ShardReceipt, Utterance
from fv2es_prep.utils.files import whole_file, write_json
from fv2es_train.config import TrainConfig
from fv2es_train.evaluation import plots
from fv2es_train.models.families import FAMILIES
from fv2es_train.predict.predictor import Predictor
from fv2es_train.training import run_dir
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import train_config
from tests.conftest import Once
from tests.train.media import NAME, ffmpeg

CLASSES = ("ang", "exc", "fru", "hap", "neu", "sad")
VOCABULARY = 40
SETTINGS = PrepSettings(text=TextSettings(tokenizer="tests", vocabulary_size=VOCABULARY))


def make_example(name: str, kind: int, rng: np.random.Generator) -> Example:
    """One utterance of class number ``kind`` with 1 to 3 faces and 40 to 90 rows of spectrum."""
    count, rows = int(rng.integers(1, 4)), int(rng.integers(40, 91))
    colour = np.full(3, 90.0)
    colour[kind % 3] += 60 + 60 * (kind // 3)
    rgb = np.clip(rng.normal(colour, 25, (count, 48, 48, 3)), 0, 255).astype(np.uint8)
    log_power = rng.normal(-8, 1, (rows, 128))
    log_power[:, 20 * kind : 20 * kind + 20] += 5
    words = rng.integers(20, VOCABULARY, int(rng.integers(2, 6)))
    words[rng.integers(len(words))] = 5 + kind
    label = np.zeros(len(CLASSES), dtype=np.uint8)
    label[kind] = 1
    return Example(
        utterance=Utterance(
            id=name,
            recording_id=f"rec{kind % 2}",
            start_s=0.0,
            end_s=rows * 0.0125,
            transcript="",
            labels=(CLASSES[kind],),
            speaker="F",
            session="1",
        ),
        label=label,
        faces=Faces(
            rgb=rgb,
            times_s=np.arange(count) * 0.5,
            found=np.ones(count, dtype=np.bool_),
            box=np.zeros((count, 4), dtype=np.float32),
            prob=np.ones(count, dtype=np.float32),
        ),
        mel=MelSpectrum(log_power.astype(np.float16), 0.0125),
        tokens=np.array([2, *words, 3], dtype=np.int32),
    )


def make_examples(count: int, seed: int = 0) -> list[Example]:
    """Utterances ``utt000``, ``utt001`` ... whose classes take turns."""
    rng = np.random.default_rng(seed)
    return [make_example(f"utt{n:03d}", n % len(CLASSES), rng) for n in range(count)]


def write_shards(
    directory: Path,
    examples: Sequence[Example],
    settings: PrepSettings = SETTINGS,
    classes: tuple[str, ...] = CLASSES,
    per_shard: int = 10,
    ratings: tuple[str, ...] = (),
) -> Path:
    """Write examples as a dataset directory of shards."""
    directory.mkdir(parents=True, exist_ok=True)
    receipts = []
    for start in range(0, len(examples), per_shard):
        name = f"tests-{start // per_shard:05d}.h5"
        header = ShardHeader("tests", classes, ratings, settings, {}, task_digest=str(start))
        part = examples[start : start + per_shard]
        with ShardWriter(directory / name, header) as writer:
            for example in part:
                writer.append(example)
            digest, size = writer.close()
        receipts.append(ShardReceipt(name, digest, size, len(part), str(start)))
    write_index(directory, make_index("tests", classes, ratings, settings, receipts))
    return directory


STILL = """
from dataclasses import replace
from fv2es_train.models.fv2es_config import FAMILY as FV2ES
from fv2es_prep.utils.files import write_json
from fv2es_train.models.families import Preset

tiny = FV2ES.presets["fv2es-tiny"]
quiet = replace(tiny.model, name="still", dropout=0.0, sound_dropout=0.0)
FAMILY = replace(FV2ES, presets={"still": Preset(quiet, tiny.train)})
"""


@dataclass(frozen=True)
class Corpus:
    """Small shards and a split of them.

    Attributes:
        shards: directory of the shards.
        split: file of the manifest.
        examples: what is in the shards, in order.
    """

    shards: Path
    split: Path
    examples: list[Example]

    def resplit(self, change: Callable[[Split], Split], path: Path) -> Path:
        """Write a changed copy of the manifest."""
        made = next(build_splits(read_catalogue(self.shards), Rule(allow_empty_class=True)))
        write_split(change(made), path)
        return path


WHISPER_TOKENS = ("<|endoftext|>", "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are fastest on one thread; the tests beside these keep theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def plotted_once() -> Iterator[None]:
    """Runs with equal numbers share their plots: drawing them takes a fifth of a short training."""
    pictures: dict[bytes, bytes] = {}

    def timeless(value: Any) -> Any:
        return (
            [r | {"seconds": 0, "utterances_per_s": 0} for r in value]
            if type(value) is list
            else value
        )

    def sharing(draw: Callable[..., None]) -> Callable[..., None]:
        def drawn(*given: Any) -> None:
            *values, path = given
            key = pickle.dumps((draw.__name__, *map(timeless, values)))
            if key in pictures:
                with whole_file(path) as temporary:
                    temporary.write_bytes(pictures[key])
            else:
                draw(*given)
                pictures[key] = path.read_bytes()

        return drawn

    with pytest.MonkeyPatch.context() as patch:
        for draw in (plots.draw_curves, plots.draw_predictions):
            patch.setattr(run_dir, draw.__name__, sharing(draw))
        yield


@pytest.fixture(scope="session")
def corpus(once: Once) -> Corpus:
    """36 utterances in four shards: 25 train, 4 valid, 7 test.

    The subsets are cut so that each has what its tests need: all classes in train.
    """
    examples = make_examples(36)
    names = [example.utterance.id for example in examples]

    def make(place: Path) -> None:
        made = next(
            build_splits(
                read_catalogue(write_shards(place / "shards", examples)),
                Rule(allow_empty_class=True),
            )
        )
        split = replace(
            made, train=tuple(names[:18]), valid=tuple(names[18:24]), test=tuple(names[24:])
        )
        write_split(split, place / "split.json")

    place = once("examples", make)
    return Corpus(place / "shards", place / "split.json", examples)


def options_of(corpus: Corpus, out: Path, **changes: Any) -> TrainConfig:
    """Two epochs of the tiny model."""
    values: dict[str, Any] = {"split": corpus.split, "epochs": 2, "batch_size": 6, **changes}
    return tiny_config(corpus.shards, out=out, **values)


def tiny_config(shards: Path, split: Path, out: Path, **values: Any) -> TrainConfig:
    """A training of the tiny model; what the model has of the values is set there."""
    preset = values.pop("model", "fv2es-tiny")
    names = {"modalities", "text_encoder", "dropout"} & set(values)
    model = {name: values.pop(name) for name in names}
    return train_config(preset, shards=shards, split=split, out=out, model=model, **values)


@pytest.fixture(scope="session")
def summary(corpus: Corpus, once: Once) -> dict[str, Any]:
    """The summary of a finished run of all modalities; tests must not write to its directory."""

    def make(place: Path) -> None:
        write_json(place / "summary.json", train(options_of(corpus, place / "run")))

    found: dict[str, Any] = json.loads((once("run", make) / "summary.json").read_text())
    return found


@pytest.fixture(scope="session")
def run(summary: dict[str, Any]) -> Path:
    """The directory of that run."""
    return Path(summary["run"])


@pytest.fixture(scope="session")
def trained(prepared: Path, text_model: Path, once: Once) -> Callable[[str], Path]:
    """A short run on some modalities, trained once each."""
    split = once("split", lambda place: random_split(prepared, place)) / "split.json"

    def run_of(modalities: str) -> Path:
        asked: dict[str, Any] = {"epochs": 1, "modalities": modalities, "batch_size": 4}
        asked |= {"text_encoder": str(text_model) if "t" in modalities else ""}

        def make(place: Path) -> None:
            train(tiny_config(prepared, split, place / modalities, **asked))

        return once(f"run-{modalities}", make) / modalities

    return run_of


def random_split(shards: Path, place: Path) -> None:
    write_split(
        next(build_splits(read_catalogue(shards), Rule(allow_empty_class=True))),
        place / "split.json",
    )


@pytest.fixture(scope="session")
def predictor(trained: Callable[[str], Path], text_model: Path) -> Predictor:
    return Predictor.load(trained("tav"), "cpu", str(text_model), "none")


@pytest.fixture(scope="session")
def files(demo: Path) -> tuple[Path, Path]:
    """The picture and the sound of one recording."""
    dialog = demo / "Session1" / "dialog"
    return dialog / f"avi/DivX/{NAME}.avi", dialog / f"wav/{NAME}.wav"


@pytest.fixture(scope="session")
def talk(files: tuple[Path, Path], once: Once) -> Path:
    """Eight seconds of it in one file."""

    def make(place: Path) -> None:
        inputs = ("-i", files[0], "-i", files[1])
        ffmpeg(*inputs, "-t", "8", "-c:v", "copy", "-c:a", "aac", place / "talk.mp4")

    return once("talk", make) / "talk.mp4"


@pytest.fixture
def still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A preset without dropout, which each process would draw for itself, and where it lies."""
    place = tmp_path / "site"
    info = place / "still-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "still.py").write_text(STILL)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: still\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fv2es.models]\nstill = still:FAMILY\n")
    monkeypatch.syspath_prepend(place)
    vars(FAMILIES).pop("_points", None)
    yield str(place)
    vars(FAMILIES).pop("_points", None)


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of random weights that knows 95 characters, as save_pretrained writes it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizerFast,
    )

    place = tmp_path_factory.mktemp("whisper")
    letters = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(name, special=True) for name in WHISPER_TOKENS])
    names = dict.fromkeys(("unk_token", "bos_token", "eos_token", "pad_token"), WHISPER_TOKENS[0])
    WhisperTokenizerFast(tokenizer_object=inner, **names).save_pretrained(place)
    ids = {name: inner.token_to_id(name) for name in WHISPER_TOKENS}
    config = WhisperConfig(
        vocab_size=inner.get_vocab_size(),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=300,
        decoder_start_token_id=ids[WHISPER_TOKENS[1]],
        eos_token_id=ids[WHISPER_TOKENS[0]],
        pad_token_id=ids[WHISPER_TOKENS[0]],
        bos_token_id=ids[WHISPER_TOKENS[0]],
        suppress_tokens=None,
        begin_suppress_tokens=[ids[WHISPER_TOKENS[0]]],
    )
    WhisperForConditionalGeneration(config).save_pretrained(place)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(place)
    return place
