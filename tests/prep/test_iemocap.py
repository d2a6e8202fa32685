from __future__ import annotations

import math
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fv2es_prep.corpora import iemocap
from fv2es_prep.corpora.iemocap import (
    LABELS,
    RATINGS,
    LabelLine,
    parse_labels,
    parse_transcript,
    view_of,
)
from fv2es_prep.corpora.inventory import LabelChoice, first_utterances
from fv2es_prep.errors import CorpusError, DropReason, SettingsError
from fv2es_prep.types import VOTES, Inventory

SIX = LabelChoice(LABELS)


def scan(root: Path, choice: LabelChoice = SIX) -> Inventory:
    return iemocap.scan(root, choice)


@pytest.fixture
def copy(corpus: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(corpus, tmp_path / "copy"))


def reasons(inventory: Inventory) -> Counter[DropReason]:
    return Counter(entry.reason for entry in inventory.dropped)


@pytest.mark.parametrize(
    ("utterance", "half", "channel"),
    [
        ("Ses01F_impro01_F003", "left", 0),
        ("Ses01F_impro01_M003", "right", 1),
        ("Ses05M_script02_1_M030", "left", 0),
        ("Ses05M_script02_1_F030", "right", 1),
    ],
)
def test_the_actor_with_the_markers_is_on_the_left(utterance, half, channel):
    view = view_of(utterance)
    assert (view.half, view.audio_channel, view.crop_px) == (half, channel, 224)


def test_a_label_file_gives_turns_and_what_it_does_not_understand():
    text = (
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.0000]\n"
        "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\nC-M1:\tOther;\t(why: so)\n"
        "something else\n"
    )
    other, turn = parse_labels(text)
    votes = (1.0, *9 * (0.0,))
    means = (2.5, 2.5, 2.0)
    assert turn == LabelLine("Ses01F_impro01_F000", 6.2901, 8.2357, "neu", (*means, *votes))
    assert other == "line 7: something else"


def test_the_votes_of_the_evaluators_are_ratings():
    lines = [
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\tfru\t[2.5000, 2.5000, 2.0000]",
        "C-E2:\tFrustration; Anger;\t()",
        "C-E3:\tFrustration;\t(or Sadness)",
        "C-E4:\tNeutral state;\t()",
        # The actor's own word, which the release's labels do not count.
        "C-F1:\tSadness;\t()",
        "[9.0000 - 9.9000]\tSes01F_impro01_F001\tneu\t[2.5000, 2.5000, 2.0000]",
    ]
    voted, unknown = parse_labels("\n".join(lines))
    named = {n: v for n, v in zip(RATINGS, voted.ratings, strict=True) if n.startswith(VOTES) and v}
    assert named == {"votes_neu": 1, "votes_ang": 0.5, "votes_fru": 1.5}
    # Without evaluators nothing is known; that is not the same as no vote.
    assert all(map(math.isnan, unknown.ratings[3:]))


def test_a_transcript_keeps_its_colons_and_its_carriage_returns_go():
    text = "Ses01F_impro01_F000 [006.2901-008.2357]: Well: look at 5:30.\r\nM: Yeah.\r\n"
    assert list(parse_transcript(text)) == [
        ("Ses01F_impro01_F000", "Well: look at 5:30."),
        "line 2: M: Yeah.",
    ]


@given(st.binary(max_size=300))
def test_the_parsers_take_any_bytes(data):
    text = data.decode("utf-8-sig", "replace")
    assert all(isinstance(entry, LabelLine | str) for entry in parse_labels(text))
    assert all(isinstance(entry, tuple | str) for entry in parse_transcript(text))


def test_every_labelled_utterance_is_kept_with_who_said_it_when_and_how(corpus):
    inventory = scan(corpus)
    assert len(inventory.utterances) == 18
    assert [r.id for r in inventory.recordings] == [
        "Ses01F_impro01",
        "Ses02F_impro01",
        "Ses03F_impro01",
    ]
    first = inventory.utterances[0]
    assert (first.session, first.recording_id) == ("Session1", "Ses01F_impro01")
    assert first.speaker in ("Ses01_F", "Ses01_M")
    assert first.transcript
    assert inventory.rating_names == RATINGS
    assert all(1 <= value <= 5 for value in first.ratings[:3])
    assert sum(first.ratings[3:]) == 3
    assert {name for u in inventory.utterances for name in u.labels} == set(LABELS)
    order = [(u.recording_id, u.start_s, u.id) for u in inventory.utterances]
    assert order == sorted(order)


def test_all_that_is_left_out_is_counted_with_a_reason(corpus):
    counts = reasons(scan(corpus))
    # Per dialogue: one xxx and one oth, one line without id, one turn without label.
    assert counts[DropReason.LABEL_NOT_CHOSEN] == 6
    assert counts[DropReason.NO_ID] == 3
    assert counts[DropReason.NO_LABEL] == 3
    assert counts[DropReason.NOT_A_RECORDING] == 2


def test_other_labels_can_be_chosen_and_merged(corpus):
    merged = scan(corpus, LabelChoice(LABELS, {"exc": "hap"}))
    assert merged.label_classes == ("ang", "fru", "hap", "neu", "sad")
    both, counts = (
        Counter(name for u in found.utterances for name in u.labels)
        for found in (scan(corpus), merged)
    )
    assert counts["hap"] == both["exc"] + both["hap"]
    other = scan(corpus, LabelChoice(("oth", "xxx")))
    assert {u.labels for u in other.utterances} == {("oth",), ("xxx",)}


def test_a_choice_that_makes_no_sense_is_refused(corpus):
    with pytest.raises(SettingsError, match="not one of the chosen"):
        scan(corpus, LabelChoice(("ang", "neu"), {"exc": "hap"}))
    with pytest.raises(SettingsError, match="ang, ang"):
        scan(corpus, LabelChoice(("ang", "ang")))
    with pytest.raises(CorpusError, match="label_not_chosen"):
        scan(corpus, LabelChoice(("bored",)))


def test_a_dialogue_without_video_sound_or_transcription_is_accounted_for(copy):
    (copy / "Session1/dialog/avi/DivX/Ses01F_impro01.avi").unlink()
    (copy / "Session2/dialog/wav/Ses02F_impro01.wav").unlink()
    (copy / "Session3/dialog/EmoEvaluation/Ses03F_impro01.txt").unlink()
    with pytest.raises(CorpusError) as error:
        scan(copy)
    assert "8 video_missing" in str(error.value)
    assert "8 audio_missing" in str(error.value)
    assert "1 labels_missing" in str(error.value)


def test_a_turn_without_transcript_and_a_repeated_turn_are_dropped(copy):
    path = copy / "Session1/dialog/transcriptions/Ses01F_impro01.txt"
    lines = path.read_bytes().splitlines(keepends=True)
    spoken = scan(copy).utterances[0].id
    path.write_bytes(b"".join(line for line in lines if spoken.encode() not in line))
    labels = copy / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    turn = next(u for u in scan(copy).utterances if u.session == "Session2")
    line = f"[{turn.start_s:.4f} - {turn.end_s:.4f}]\t{turn.id}\tang\t[1, 2, 3]\n"
    labels.write_text(labels.read_text() + line)
    inventory = scan(copy)
    counts = reasons(inventory)
    assert counts[DropReason.NO_TRANSCRIPT] == 1
    assert counts[DropReason.DUPLICATE_ID] == 1
    assert len(inventory.utterances) == 17


def test_a_bad_line_of_a_label_file_is_named_with_file_and_line(copy):
    labels = copy / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    text = labels.read_text()
    labels.write_text(text + "[0.1 - 0.2] no turn\n")
    (bad,) = (d for d in scan(copy).dropped if d.reason is DropReason.BAD_LINE)
    assert bad.file == "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    assert bad.sentence == f"line {text.count(chr(10)) + 1}: [0.1 - 0.2] no turn"


def test_a_class_that_the_corpus_does_not_have_is_refused_with_the_nearest(corpus):
    known = ("ang", "hap", "joy")
    assert scan(corpus, LabelChoice(("ang", "joy"), known=known)).label_classes == ("ang", "joy")
    with pytest.raises(SettingsError, match="no class 'happy': the classes are ang, ") as error:
        scan(corpus, LabelChoice(("ang", "happy"), known=known))
    assert error.value.hint == "did you mean hap?"
    with pytest.raises(SettingsError, match="no class 'excited'"):
        scan(corpus, LabelChoice(("ang", "hap"), {"excited": "hap"}, known))


def test_a_span_that_is_none_is_dropped(copy):
    labels = copy / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    first = scan(copy).utterances[0]
    old = f"[{first.start_s:.4f} - {first.end_s:.4f}]"
    labels.write_text(labels.read_text().replace(old, f"[{first.end_s:.4f} - {first.end_s:.4f}]"))
    assert reasons(scan(copy))[DropReason.BAD_SPAN] == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: root / "nowhere", "is not a directory"),
        (lambda root: root, r"holds no Session\*/dialog; it holds nothing"),
    ],
)
def test_a_wrong_path_and_an_empty_tree_are_told_apart(tmp_path, make, said):
    with pytest.raises(CorpusError, match=said):
        scan(make(tmp_path))


@pytest.mark.parametrize("folder", ["wav", "avi/DivX", "EmoEvaluation", "transcriptions"])
def test_a_tree_without_one_kind_of_file_is_refused(copy, folder):
    for path in copy.glob(f"Session*/dialog/{folder}"):
        shutil.rmtree(path)
    with pytest.raises(CorpusError, match=f"holds no Session\\*/dialog/{folder}/"):
        scan(copy)


def test_a_limit_takes_the_first_utterances(corpus):
    inventory = first_utterances(scan(corpus), 7)
    assert len(inventory.utterances) == 7
    assert len(inventory.recordings) == 2
    with pytest.raises(SettingsError, match="at least 1"):
        first_utterances(inventory, 0)
