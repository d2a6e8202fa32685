from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fv2es_prep.config import DEFAULT_SPANS, SpanSettings
from fv2es_prep.corpora.inventory import LabelChoice, make_inventory, spread_utterances
from fv2es_prep.errors import DropReason, SettingsError
from fv2es_prep.types import Dropped, Inventory, Recording, Utterance

CHOICE = LabelChoice(("ang",))
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    path = tmp_path / "a.avi"
    path.touch()
    return path


def spoken(name: str, start_s: float = 0.0, end_s: float = 2.0, words: str = "x") -> Utterance:
    return Utterance(name, "r", start_s, end_s, words, ("ang",))


def made(media: Path, *utterances: Utterance, spans: SpanSettings = DEFAULT_SPANS) -> Inventory:
    recordings = [Recording("r", media, media)]
    kept = spoken("kept", 100, 101)
    return make_inventory("c", recordings, [*utterances, kept], [], CHOICE, (), spans)


@pytest.mark.parametrize(
    ("start_s", "left", "outcome"),
    [
        (0.0, 0.5, (0.0, False)),
        (-0.0, 0.5, (0.0, False)),
        (-1.0, 0.5, (0.0, True)),
        (-2.0, 0.5, (0.0, True)),
        (-2.001, 0.5, DropReason.SPAN_OUTSIDE_MEDIA),
        (-9.0, 0.0, (0.0, True)),
        (-0.001, 1.0, DropReason.SPAN_OUTSIDE_MEDIA),
    ],
)
def test_a_span_that_starts_too_early_is_clamped_or_dropped(media, start_s, left, outcome):
    inventory = made(media, spoken("u", start_s), spans=SpanSettings(min_left=left))
    if isinstance(outcome, DropReason):
        (entry,) = inventory.dropped
        assert (entry.id, entry.reason, entry.start_s) == ("u", outcome, start_s)
        assert str(start_s) in entry.sentence
    else:
        utterance = inventory.utterances[0]
        assert (utterance.start_s, utterance.clamped) == outcome
        assert utterance.end_s == 2.0


@pytest.mark.parametrize("span", [(1, 1), (2, 1), (NAN, 1), (0, NAN), (0, INF), (-INF, 1)])
def test_a_span_that_is_none_is_dropped(media, span):
    (entry,) = made(media, spoken("u", *span)).dropped
    assert entry.reason is DropReason.BAD_SPAN


def test_clamped_utterances_are_in_order_again(media):
    inventory = made(media, spoken("b", -0.5), spoken("a", -0.1), spoken("c", -0.9))
    assert [u.id for u in inventory.utterances] == ["a", "b", "c", "kept"]


def test_text_that_no_file_can_hold_is_replaced(media):
    inventory = made(media, spoken("u\0", words="a\0b"), spoken(os.fsdecode(b"v\xff"), 1))
    assert [(u.id, u.transcript) for u in inventory.utterances[:2]] == [
        ("u\N{REPLACEMENT CHARACTER}", "a\N{REPLACEMENT CHARACTER}b"),
        ("v\\xff", "x"),
    ]
    entry = Dropped(os.fsdecode(b"\xfe"), DropReason.NO_ID, "\0", os.fsdecode(b"x\xff.avi"))
    assert (entry.id, entry.file) == ("\\xfe", "x\\xff.avi")
    assert "\0" not in entry.sentence
    media_name = media.rename(media.with_name(os.fsdecode(b"\xe9.avi")))
    recordings = [Recording(os.fsdecode(b"r\xe9"), media_name, media_name)]
    utterances = [Utterance("u", os.fsdecode(b"r\xe9"), 0, 1, "x", ("ang",))]
    inventory = make_inventory("c", recordings, utterances, [], CHOICE)
    assert inventory.recordings[0].id == inventory.utterances[0].recording_id == "r\\xe9"
    assert inventory.recordings[0].video.is_file()


def directory(path: Path) -> None:
    path.mkdir()


def dead_link(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def no_permission(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.touch(mode=0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (directory, DropReason.NOT_A_FILE),
        (os.mkfifo, DropReason.NOT_A_FILE),
        (dead_link, DropReason.NOT_A_FILE),
        (device, DropReason.NOT_A_FILE),
        (loop, DropReason.UNREADABLE_FILE),
        (no_permission, DropReason.UNREADABLE_FILE),
    ],
)
def test_only_files_that_can_be_opened_are_recordings(media, make, reason):
    odd = media.with_name("odd.avi")
    make(odd)
    for files in ((odd, media), (media, odd)):
        recordings = [Recording("r", *files), Recording("s", media, media)]
        utterances = [spoken("u"), Utterance("v", "s", 0, 1, "x", ("ang",))]
        inventory = make_inventory("c", recordings, utterances, [], CHOICE)
        assert [r.id for r in inventory.recordings] == ["s"]
        (entry,) = inventory.dropped
        assert (entry.id, entry.reason) == ("u", reason)
        assert entry.reason.fails_recording
        assert entry.sentence.startswith("odd.avi")


def test_where_files_are_not_required_only_an_utterance_with_nothing_else_is_dropped(media):
    odd = media.with_name("odd.avi")
    directory(odd)
    recordings = [Recording("r", odd, media), Recording("s", odd, odd), Recording("t", odd, None)]
    utterances = [Utterance(i, i, 0, 1, "", ("ang",)) for i in "rs"]
    utterances.append(Utterance("t", "t", 0, 1, "words", ("ang",)))
    inventory = make_inventory("c", recordings, utterances, [], CHOICE, files_required=False)
    assert [u.id for u in inventory.utterances] == ["r", "t"]
    (entry,) = inventory.dropped
    assert (entry.id, entry.reason) == ("s", DropReason.NOT_A_FILE)


def test_settings_of_spans_have_ranges():
    with pytest.raises(SettingsError, match="min_left is 2"):
        SpanSettings(min_left=2)
    with pytest.raises(SettingsError, match="tolerance_s is -1"):
        SpanSettings(tolerance_s=-1)


def test_every_reason_has_a_meaning():
    assert all(reason.meaning for reason in DropReason)
    assert DropReason.TIME_LIMIT.fails_recording
    assert not DropReason.SILENT_AUDIO.fails_recording


def test_where_no_class_is_chosen_all_that_are_found_are_and_none_may_hold(media):
    utterances = [
        replace(spoken("u"), labels=("sad", "ang")),
        replace(spoken("v", 1), labels=("fru",)),
        replace(spoken("w", 1), labels=()),
    ]
    recordings = [Recording("r", media, media)]
    merge = LabelChoice((), {"fru": "ang"})
    found = make_inventory("c", recordings, utterances, [], merge, none_holds="kept")
    assert found.label_classes == ("ang", "sad")
    assert [u.labels for u in found.utterances] == [("ang", "sad"), ("ang",), ()]
    (entry,) = make_inventory("c", recordings, utterances, [], merge).dropped
    assert entry.reason is DropReason.LABEL_NOT_CHOSEN


def test_the_votes_for_a_merged_class_count_for_its_target(media):
    names = ("valence", "votes_ang", "votes_fru")
    recordings, merge = [Recording("r", media, media)], LabelChoice(("ang",), {"fru": "ang"})

    def ratings(names: tuple[str, ...], values: tuple[float, ...]) -> tuple[float, ...]:
        spoken_ = replace(spoken("u"), ratings=values)
        return make_inventory("c", recordings, [spoken_], [], merge, names).utterances[0].ratings

    assert ratings(names, (2.5, 1.0, 2.0)) == (2.5, 3.0, 0.0)
    # One rater may have chosen both, so the sum is not known.
    _, anger, _, _ = ratings((*names, "raters"), (2.5, 1.0, 2.0, 3.0))
    assert math.isnan(anger)


@pytest.mark.parametrize(
    ("count", "wanted"), [(1, ["5"]), (2, ["2", "7"]), (5, list("13579")), (99, list("0123456789"))]
)
def test_a_sample_is_spread_over_all(media, count, wanted):
    recordings = [Recording("r", media, media)]
    utterances = [spoken(str(number), number, number + 1) for number in range(10)]
    inventory = make_inventory("c", recordings, utterances, [], CHOICE)
    assert [u.id for u in spread_utterances(inventory, count).utterances] == wanted
    with pytest.raises(SettingsError, match="at least 1"):
        spread_utterances(inventory, 0)
