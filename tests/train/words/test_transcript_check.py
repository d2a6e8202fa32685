"""`fv2es shards check --words`: shifted transcripts are found with a model and without one."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
import typer
from typer.testing import CliRunner

from fv2es_prep.errors import WorkError
from fv2es_prep.types import Example, Waveform
from fv2es_train.commands.check import check
from fv2es_train.words.aligner import load_aligner
from tests.prep.suspicious import CLASSES, SETTINGS, make_examples, write_examples

SHIFTED = range(60, 100)
LETTERS = "abcdef"
# A model this small learns without what hinders large ones.
UNDISTURBED = dict.fromkeys(
    (
        *("mask_time_prob", "layerdrop", "hidden_dropout", "attention_dropout"),
        *("feat_proj_dropout", "final_dropout", "activation_dropout"),
    ),
    0.0,
)
_NOUNS = {"ang": "liar idiot fool", "hap": "smile party gift", "sad": "tears loss grave"}


def _worded(count: int) -> list[Example]:
    """Utterances whose words go with their length and class."""
    rng = np.random.default_rng(7)
    examples = []
    for example in make_examples(count, seed=3):
        said = example.utterance
        nouns = _NOUNS[CLASSES[int(example.label.argmax())]].split()
        length = round(2.4 * (said.end_s - said.start_s))
        words = " ".join(rng.choice([*nouns, *nouns, "a", "the", "my"], length))
        changed = replace(said, transcript=words)
        examples.append(Example(changed, example.label, **dict(example)))
    return examples


def _shifted(examples: list[Example]) -> tuple[list[Example], set[str]]:
    """The words of the next in a run; the ids of those that now have others."""
    said, wrong, changed = [e.utterance.transcript for e in examples], set(), list(examples)
    for row in SHIFTED:
        utterance = replace(examples[row].utterance, transcript=said[row + 1])
        changed[row] = Example(utterance, examples[row].label, **dict(examples[row]))
        wrong |= {utterance.id} if said[row] != said[row + 1] else set()
    return changed, wrong


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, set[str]]:
    examples, wrong = _shifted(_worded(160))
    return write_examples(tmp_path_factory.mktemp("words") / "shards", examples), wrong


def _run(*arguments: str) -> tuple[int, dict, str]:
    app = typer.Typer()
    app.command()(check)
    told = CliRunner().invoke(app, [*arguments, "--only", "words", "--json"])
    return told.exit_code, json.loads(told.stdout), told.stderr


def test_length_and_tone_find_a_run_of_shifted_transcripts(planted):
    directory, wrong = planted
    status, found, said = _run(str(directory), "--asr", "none")
    named = {suspect["utterance"] for suspect in found["suspects"]}
    assert status == 1 and "compared 160 transcripts by length and tone of the sound" in said
    assert len(named & wrong) >= 0.9 * len(wrong) and len(named - wrong) <= 3
    scores = found["words"]["mismatch"]
    assert len(scores) == 160 and all((scores[name] > 0.5) == (name in named) for name in scores)
    highest = _run(str(directory), "--asr", "none", "--max-mismatch", "1")
    assert highest[:2] == (0, {**found, "count": 0, "suspects": []})


def _ctc(directory: Path, letters: str = "ab") -> Path:
    """A small CTC model with random weights, of letters and a blank."""
    directory.mkdir(exist_ok=True)
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "|": 2} | {c: 3 + k for k, c in enumerate(letters)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = hf.Wav2Vec2CTCTokenizer(
        str(directory / "vocab.json"),
        pad_token="[PAD]",
        unk_token="[UNK]",
        word_delimiter_token="|",
    )
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=False)
    hf.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(directory)
    config = hf.Wav2Vec2Config(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, conv_dim=(16,) * 3, conv_stride=(8, 8, 5), conv_kernel=(16, 8, 5),
        num_feat_extract_layers=3, pad_token_id=0, **UNDISTURBED,
    )  # fmt: skip
    torch.manual_seed(0)
    hf.Wav2Vec2ForCTC(config).save_pretrained(directory)
    return directory


def test_a_ctc_model_sums_over_all_alignments(tmp_path):
    aligner = load_aligner(str(_ctc(tmp_path / "ctc")))
    samples = np.random.default_rng(0).normal(0, 0.1, 2000).astype(np.float32)
    inputs = torch.from_numpy(samples)[None]
    with torch.no_grad():
        steps = aligner._model(inputs).logits[0].softmax(-1).numpy().astype(float)
    assert 4 <= len(steps) <= 6
    summed = {"ab": 0.0, "a": 0.0, "b a": 0.0, "aa": 0.0}
    for path in itertools.product(range(steps.shape[1]), repeat=len(steps)):
        merged = "".join("-?|ab"[k] for k, _ in itertools.groupby(path)).replace("-", "")
        for text in summed:
            if merged == text.replace(" ", "|"):
                summed[text] += np.prod(steps[np.arange(len(steps)), path])
    found = aligner.fits(Waveform(samples, 16_000), [*summed, "ccc", "ab" * 50, "A B"])
    np.testing.assert_allclose(found[: len(summed)], np.log([*summed.values()]), rtol=1e-4)
    # No letter of the model; more letters than steps; another case.
    assert np.isnan(found[4:6]).all() and np.isfinite(found[6]) and aligner.alone("ab") == 0


def test_a_whisper_gives_the_probability_of_given_words(whisper):
    aligner = load_aligner(str(whisper))
    samples = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    model, processor = aligner._model, aligner._processor
    features = processor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    start = model.config.decoder_start_token_id
    said = processor.tokenizer(" you know", add_special_tokens=False).input_ids
    with torch.no_grad():
        loss = model(
            features,
            decoder_input_ids=torch.tensor([[start, *said[:-1]]]),
            labels=torch.tensor([said]),
        ).loss
    found = aligner.fits(Waveform(samples, 16_000), ["you know", "a" * 400, "no"])
    assert found[0] == pytest.approx(-len(said) * float(loss), rel=1e-4)
    assert np.isnan(found[1]) and np.isfinite(found[2])
    assert np.isnan(aligner.fits(Waveform(np.zeros(31 * 16_000, np.float32), 16_000), ["no"]))
    assert aligner.alone("no") == aligner.fits(
        Waveform(np.zeros(48_000, np.float32), 16_000), ["no"]
    )


def test_a_whisper_of_many_languages_names_the_one_it_hears(whisper):
    aligner = load_aligner(str(whisper))
    for name, value in {
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": 20, "<|de|>": 21},
        "task_to_id": {"transcribe": 22},
        "no_timestamps_token_id": 23,
    }.items():
        setattr(aligner._model.generation_config, name, value)
    start, language, *others = aligner._heard(np.zeros(8000, np.float32))[1]
    assert start == aligner._model.config.decoder_start_token_id
    assert language in (20, 21) and others == [22, 23]


def test_what_is_no_speech_model_is_refused(tmp_path):
    with pytest.raises(WorkError, match="the speech model .* cannot be loaded") as error:
        load_aligner(str(tmp_path))
    assert "save_pretrained" in error.value.hint
    with pytest.raises(WorkError, match="did not provide it"):
        load_aligner("nobody/nothing")


def _tones(words: str, rng: np.random.Generator) -> np.ndarray:
    """A language of six tones of 0.1 s; a space is silence."""
    time_s = np.arange(1600) / 16_000
    loud = [0 if c == " " else 0.3 for c in words]
    hertz = [300 * 1.6 ** LETTERS.find(c) for c in words]
    sound = np.outer(loud, np.hanning(1600)) * np.sin(2 * np.pi * np.outer(hertz, time_s))
    return (sound + rng.normal(0, 0.01, sound.shape)).astype(np.float32).ravel()


@pytest.fixture(scope="module")
def listener(tmp_path_factory) -> Path:
    """A CTC model that has learned the language of tones; 5 s."""
    directory, rng = (
        _ctc(tmp_path_factory.mktemp("tones") / "ctc", LETTERS),
        np.random.default_rng(0),
    )
    model = hf.Wav2Vec2ForCTC.from_pretrained(directory, ctc_zero_infinity=True).train()
    model.config.ctc_loss_reduction = "mean"
    tokenizer = hf.AutoProcessor.from_pretrained(directory).tokenizer
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(250):
        texts = ["".join(rng.choice([*LETTERS, " "], 8)) for _ in range(16)]
        sounds = torch.from_numpy(np.stack([_tones(text, rng) for text in texts]))
        labels = tokenizer(
            [text.replace(" ", "") for text in texts], return_tensors="pt", padding=True
        )
        targets = labels.input_ids.masked_fill(labels.attention_mask == 0, -100)
        optimizer.zero_grad()
        model(sounds, labels=targets).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.save_pretrained(directory)
    return directory


@pytest.mark.slow
def test_a_ctc_model_finds_shifted_transcripts(listener, tmp_path):
    rng, settings = np.random.default_rng(1), replace(SETTINGS, stages=("waveform", "tokens"))
    examples = []
    for example in make_examples(160):
        words = [rng.choice([*LETTERS], rng.integers(2, 5)) for _ in range(rng.integers(2, 5))]
        said = " ".join("".join(word) for word in words)
        sound = np.rint(_tones(said, rng) * 32767).astype(np.int16)
        start_s, length_s = example.utterance.start_s, len(sound) / 16_000
        utterance = replace(example.utterance, transcript=said, end_s=start_s + length_s)
        parts = {"waveform": sound, "tokens": example["tokens"]}
        examples.append(Example(utterance, example.label, **parts))
    clean = write_examples(tmp_path / "clean", examples, settings=settings)
    assert _run(str(clean), "--asr", str(listener))[1]["count"] == 0
    shifted, wrong = _shifted(examples)
    directory = write_examples(tmp_path / "shifted", shifted, settings=settings)
    status, found, said = _run(str(directory), "--asr", str(listener))
    named = {suspect["utterance"] for suspect in found["suspects"]}
    assert status == 1 and "compared 160 transcripts by ctc" in said and len(wrong) == 40
    assert len(named & wrong) >= 38 and len(named - wrong) <= 2
