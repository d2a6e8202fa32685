"""The demo corpus has IEMOCAP's layout and formats, and each speaker has a face to find."""

import hashlib
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fv2es_prep.demo import make_corpus, make_text_model
from fv2es_prep.demo.film import draw_frames, film_dialogue
from fv2es_prep.demo.script import EMOTIONS, Turn, plan_corpus
from fv2es_prep.demo.voice import SAMPLE_RATE, speak_dialogue

LABEL_LINE = re.compile(
    r"\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(\S+)\t(\w{3})\t\[(\d\.\d{4}(?:, )?){3}\]"
)
TEXT_LINE = re.compile(r"(\S+) \[(\d{3}\.\d{4})-(\d{3}\.\d{4})\]: (.+)")
NAME = "Ses01F_impro01"
TURNS = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    return make_corpus(root, sessions=1, dialogues=1, turns=TURNS)


@pytest.fixture(scope="module")
def base(corpus: Path) -> Path:
    return corpus / "Session1" / "dialog"


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_tree_is_that_of_iemocap(corpus: Path) -> None:
    dialog = "Session1/dialog"
    assert set(digests(corpus)) == {
        "README.txt",
        "provenance.json",
        f"{dialog}/EmoEvaluation/{NAME}.txt",
        f"{dialog}/EmoEvaluation/._{NAME}.txt",
        f"{dialog}/transcriptions/{NAME}.txt",
        f"{dialog}/wav/{NAME}.wav",
        f"{dialog}/avi/DivX/{NAME}.avi",
        f"{dialog}/avi/DivX/._{NAME}.avi",
    }
    readme = (corpus / "README.txt").read_text("ascii")
    assert "not IEMOCAP" in readme
    assert "public-domain" in readme


def test_equal_arguments_give_equal_bytes(corpus: Path, tmp_path: Path) -> None:
    again = make_corpus(tmp_path / "again", sessions=1, dialogues=1, turns=TURNS)
    assert digests(again) == digests(corpus)


def test_another_seed_gives_another_dialogue() -> None:
    assert plan_corpus(1, 1, TURNS, seed=0) != plan_corpus(1, 1, TURNS, seed=1)


def test_a_dialogue_does_not_depend_on_how_many_follow() -> None:
    few, many = plan_corpus(1, 2, TURNS, 0), plan_corpus(3, 2, TURNS, 0)
    assert many[:2] == few


def test_bad_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="turns is 0, expected 1 to 99"):
        make_corpus(tmp_path, turns=0)


def test_label_file_has_header_lines_and_ratings(base: Path) -> None:
    raw = (base / "EmoEvaluation" / f"{NAME}.txt").read_bytes()
    assert raw.startswith(b"% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n[")
    assert b"\r" not in raw
    text = raw.decode("ascii")
    labels = [match[4] for match in LABEL_LINE.finditer(text)]
    assert sorted(labels) == sorted([*EMOTIONS, "xxx", "oth"])
    assert len(re.findall(r"^C-\w\w:\t[\w ]+;\t\(\)$", text, re.MULTILINE)) == 4 * len(labels)
    rating = r"^A-\w\w:\tval [1-5]; act [1-5]; dom  [1-5];\t\(\)$"
    assert len(re.findall(rating, text, re.MULTILINE)) == 3 * len(labels)


def test_transcription_agrees_with_labels_and_has_the_known_oddities(base: Path) -> None:
    raw = (base / "transcriptions" / f"{NAME}.txt").read_bytes()
    assert raw.count(b"\n") == raw.count(b"\r\n")
    lines = raw.decode("ascii").splitlines()
    timed = {m[1]: (float(m[2]), float(m[3]), m[4]) for m in map(TEXT_LINE.fullmatch, lines) if m}
    labels = (base / "EmoEvaluation" / f"{NAME}.txt").read_text("ascii")
    labelled = {m[3]: (float(m[1]), float(m[2])) for m in LABEL_LINE.finditer(labels)}
    assert {name: timed[name][:2] for name in labelled} == labelled
    assert [name[-4:] in ("MXX0", "FXX0") for name in set(timed) - set(labelled)] == [True]
    assert [line for line in lines if not TEXT_LINE.fullmatch(line)] == ["M: Yeah."]
    assert any(":" in text for _, _, text in timed.values())


def test_strays_are_apple_double_files(base: Path) -> None:
    for path in (f"avi/DivX/._{NAME}.avi", f"EmoEvaluation/._{NAME}.txt"):
        assert (base / path).read_bytes()[:4] == bytes.fromhex("00051607")


def test_the_plan_is_balanced_and_speakers_overlap() -> None:
    plans = plan_corpus(5, 2, 24, 0)
    names = [plan.name for plan in plans[:2]] + [plan_corpus(1, 3, 1, 0)[2].name]
    assert names == [NAME, "Ses01M_script01_1", "Ses01F_impro02"]
    turns = [turn for plan in plans for turn in plan.turns]
    assert {
        label: sum(turn.label == label for turn in turns) for label in EMOTIONS
    } == dict.fromkeys(EMOTIONS, 40)
    assert all(1.3999 <= turn.end_s - turn.start_s <= 2.4001 for turn in turns)
    assert sum(turn.hidden for turn in turns) == 1
    pairs = [(a, b) for plan in plans for a, b in zip(plan.turns, plan.turns[1:], strict=False)]
    assert sum(b.start_s < a.end_s for a, b in pairs) > len(pairs) / 4
    assert all(b.start_s > a.end_s for a, b in pairs if a.speaker == b.speaker)
    for modality in ("face", "voice"):
        wrong = sum(
            getattr(turn, modality) != turn.label for turn in turns if turn.label in EMOTIONS
        )
        assert 5 <= wrong <= 25


def test_sentences_are_short_and_mostly_differ() -> None:
    texts = [turn.text for plan in plan_corpus(5, 2, 24, 0) for turn in plan.turns]
    assert len(set(texts)) > 0.9 * len(texts)
    bare = [re.sub(r"\[\w+\] ?", "", text) for text in texts]
    assert all(4 <= len(text.split()) <= 12 for text in bare)


def test_wav_is_stereo_and_each_speaker_is_in_their_channel(base: Path) -> None:
    from scipy.io import wavfile

    rate, sound = wavfile.read(base / "wav" / f"{NAME}.wav")
    assert (rate, sound.dtype, sound.ndim, sound.shape[1]) == (16_000, np.int16, 2, 2)
    (plan,) = plan_corpus(1, 1, TURNS, 0)
    alone = [turn for turn in plan.turns if is_alone(turn, plan.turns)]
    assert alone
    for turn in alone:
        span = slice(round(turn.start_s * rate), round(turn.end_s * rate))
        power = (sound[span].astype(float) ** 2).mean(axis=0)
        own = 0 if turn.speaker == "F" else 1
        assert 15 < 10 * np.log10(power[own] / power[1 - own]) < 28


def is_alone(turn: Turn, turns: tuple[Turn, ...]) -> bool:
    return not any(o.start_s < turn.end_s and turn.start_s < o.end_s for o in turns if o != turn)


def test_sides_are_swapped_when_the_man_wears_the_markers() -> None:
    plan = plan_corpus(1, 2, 4, 0)[1]
    sound = speak_dialogue(plan, 0)
    turn = plan.turns[0]
    opening = sound[: round(plan.turns[1].start_s * SAMPLE_RATE)].astype(float)
    assert (plan.left, np.argmax((opening**2).sum(axis=0))) == ("M", int(turn.speaker == "F"))


def test_frames_are_drawn_only_as_they_are_asked_for() -> None:
    plan = plan_corpus(1, 1, 1, 0)[0]
    assert len(next(draw_frames(plan, 0))) == 720 * 480 * 3 // 2


def test_what_the_encoder_said_is_in_the_error(tmp_path: Path) -> None:
    (plan,) = plan_corpus(1, 1, 1, 0)
    with pytest.raises(RuntimeError, match=r"video encoder failed: .*No such file"):
        film_dialogue(plan, tmp_path / "missing" / "a.avi", 0)


def test_video_is_like_iemocaps(base: Path) -> None:
    import av
    from av.video.frame import PictureType

    (plan,) = plan_corpus(1, 1, TURNS, 0)
    path = base / "avi" / "DivX" / f"{NAME}.avi"
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (720, 480)
        assert stream.average_rate == Fraction(30_000, 1001)
        assert stream.codec_context.codec_tag == "DX50"
        assert not container.streams.audio
        frames = [PictureType(frame.pict_type).name for frame in container.decode(video=0)]
    assert len(frames) == int(plan.duration_s * 30_000 / 1001)
    assert "B" not in frames
    assert 1.2e6 < path.stat().st_size * 8 / plan.duration_s < 2.4e6


def test_a_face_is_found_in_the_speakers_half_unless_hidden(base: Path) -> None:
    import av
    from facenet_pytorch import MTCNN
    from PIL import Image

    (plan,) = plan_corpus(1, 1, TURNS, 0)
    middles = {int((t.start_s + t.end_s) / 2 * 30_000 / 1001): t for t in plan.turns}
    detector = MTCNN(image_size=48, margin=2, post_process=False)
    found = {}
    with av.open(base / "avi" / "DivX" / f"{NAME}.avi") as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in middles:
                turn = middles[number]
                picture = frame.to_ndarray(format="rgb24")
                half = picture[:, :360] if turn.speaker == "F" else picture[:, 360:]
                crop = Image.fromarray(np.ascontiguousarray(half[128:352, 68:292]))
                found[turn.turn_id] = detector(crop) is not None
    assert found == {turn.turn_id: not turn.hidden for turn in plan.turns}


def test_text_model_loads_and_its_bytes_repeat(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    before = torch.random.get_rng_state()
    one, two = make_text_model(tmp_path / "one"), make_text_model(tmp_path / "two")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert digests(one) == digests(two)
    tokenizer = AutoTokenizer.from_pretrained(one, local_files_only=True)
    ids = tokenizer("hello world")["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
    assert tokenizer.unk_token_id not in ids
    assert tokenizer("Get OUT of here")["input_ids"] == tokenizer("get out of here")["input_ids"]
    model = AutoModel.from_pretrained(one, local_files_only=True).eval()
    batch = tokenizer(["get out", "I miss my brother"], padding=True, return_tensors="pt")
    assert model(**batch).last_hidden_state.shape[::2] == (2, 64)
    assert model.config.vocab_size == len(tokenizer)
