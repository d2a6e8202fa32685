"""`fv2es shards diff`: what is planted between two datasets is named, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fv2es_prep.config import MODALITIES, PrepSettings, TextSettings
from fv2es_prep.errors import DropReason, ShardError
from fv2es_prep.shards.catalogue import write_catalogue
from fv2es_prep.shards.dropped import write_dropped
from fv2es_prep.shards.index import make_index, read_index, write_index
from fv2es_prep.shards.tools.diff.dataset_diff import diff_datasets
from fv2es_prep.shards.tools.diff.diff_page import diff_text, write_diff_page
from fv2es_prep.shards.tools.diff.diff_values import Changed, Diff, Moved
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.splits.manifest import Split, write_split
from fv2es_prep.stages.fingerprint import fingerprints_of
from fv2es_prep.types import Dropped, Example, Faces, MelSpectrum, ShardReceipt, Utterance
from pipelines.commands.shards import shards

CLASSES, RATINGS = ("ang", "neu", "sad"), ("valence", "votes_ang")
SETTINGS = PrepSettings(text=TextSettings("tests", "0" * 64, vocabulary_size=100, max_tokens=8))
RECORDINGS, TURNS = 5, 8
SHA = "0" * 64, "1" * 64

# An example of a recording, by its number.
Edit = Callable[[Example], Example]


def example_of(recording: int, turn: int) -> Example:
    """Two faces, one second and three tokens."""
    rng = np.random.default_rng((recording, turn))
    start, found = 2.0 * turn, np.ones(2, np.bool_)
    place = turn % len(CLASSES)
    label = np.eye(len(CLASSES), dtype=np.uint8)[place]
    return Example(
        utterance=Utterance(
            id=f"r{recording}_{turn}",
            recording_id=f"r{recording}",
            start_s=start,
            end_s=start + 1,
            transcript=f"Words {turn} <&> of {recording}.",
            labels=(CLASSES[place],),
            speaker="FM"[turn % 2],
            session=str(recording),
            ratings=(float("nan") if turn == 7 else 2.5, float(turn)),
        ),
        label=label,
        faces=Faces(
            rgb=rng.integers(0, 256, (2, 48, 48, 3), np.uint8),
            times_s=start + np.array([0, 0.5]),
            found=found,
            box=np.tile(np.array([10, 20, 58, 68], np.float32), (2, 1)),
            prob=np.full(2, 0.9, np.float32),
        ),
        mel=MelSpectrum(rng.normal(-3, 2, (81, 128)).astype(np.float16), 0.0125),
        tokens=rng.integers(0, 100, 3).astype(np.int32),
    )


def base() -> dict[str, Example]:
    examples = [example_of(r, t) for r in range(RECORDINGS) for t in range(TURNS)]
    return {example.utterance.id: example for example in examples}


def dropped(name: str, reason: DropReason = DropReason.NO_FRAME_IN_SPAN) -> Dropped:
    return Dropped(name, reason, "in words", "a.avi", name.partition("_")[0], 1.0, 2.0)


def write_dataset(
    directory: Path,
    examples: dict[str, Example],
    left_out: Sequence[Dropped] = (),
    settings: PrepSettings = SETTINGS,
    sha: Mapping[str, tuple[str, str]] = {},
    classes: tuple[str, ...] = CLASSES,
) -> Path:
    """One shard for each recording, with true fingerprints, a catalogue and an index."""
    directory.mkdir()
    recordings: dict[str, list[Example]] = {}
    for example in examples.values():
        recordings.setdefault(example.utterance.recording_id, []).append(example)
    receipts = []
    for number, (name, turns) in enumerate(sorted(recordings.items())):
        media = sha.get(name, SHA)
        head = ShardHeader("tests", classes, RATINGS, settings, {name: media}, "0" * 64)
        path = directory / f"tests-{number:05d}.h5"
        with ShardWriter(path, head) as writer:
            for example in turns:
                origins = fingerprints_of(example.utterance, media, settings)
                writer.append(example, origins)
            digest, size = writer.close()
        receipts.append(ShardReceipt(path.name, digest, size, len(turns), head.task_digest))
    write_dropped(directory, map(dataclasses.asdict, left_out))
    index = make_index("tests", classes, RATINGS, settings, receipts)
    write_index(directory, write_catalogue(directory, index))
    return directory


def of(example: Example, **changes: Any) -> Example:
    return made_of(example, dataclasses.replace(example.utterance, **changes))


def made_of(example: Example, utterance: Utterance, **parts: Any) -> Example:
    """The example of another utterance, with other parts; None takes a stage away."""
    head = {"label": example.label, "missing": example.missing}
    values = {**head, **{name: example[name] for name in example}, **parts}
    return Example(
        utterance, **{name: value for name, value in values.items() if value is not None}
    )


def moved_span(example: Example) -> Example:
    """Another span, and what a preparation makes of it."""
    faces = dataclasses.replace(example.faces, times_s=example.faces.times_s + 0.1)
    mel = MelSpectrum(np.roll(example.mel.log_power, 8, axis=0), example.mel.hop_s)
    times = {"start_s": example.utterance.start_s + 0.1, "end_s": example.utterance.end_s + 0.1}
    return of(example, **times).replace(faces=faces, mel=mel)


def other_words(example: Example) -> Example:
    return of(example, transcript="Other words.").replace(tokens=np.array([7, 8], np.int32))


def other_label(example: Example) -> Example:
    place = (int(example.label.argmax()) + 1) % len(CLASSES)
    label = np.eye(len(CLASSES), dtype=np.uint8)[place]
    return made_of(
        example, dataclasses.replace(example.utterance, labels=(CLASSES[place],)), label=label
    )


def other_rating(example: Example) -> Example:
    return of(example, ratings=(4.5, example.utterance.ratings[1]))


def other_faces(example: Example) -> Example:
    return example.replace(faces=dataclasses.replace(example.faces, rgb=255 - example.faces.rgb))


def other_mel(example: Example) -> Example:
    mel = example.mel
    return example.replace(mel=MelSpectrum(mel.log_power - np.float16(0.5), mel.hop_s))


EDITS: dict[Edit, tuple[tuple[str, ...], set[str]]] = {
    moved_span: (("r0_0", "r1_0", "r2_0"), {"span", "faces", "mel"}),
    other_words: (("r0_1", "r1_1", "r2_1"), {"words", "tokens"}),
    other_label: (("r0_2", "r1_2", "r2_2"), {"label"}),
    other_rating: (("r0_3", "r1_3", "r2_7"), {"rating/valence"}),
    other_faces: (("r0_4", "r1_4"), {"faces"}),
    other_mel: (("r0_5", "r1_5"), {"mel"}),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two datasets between which 25 changes are planted; recording r4 is the same in both."""
    place = tmp_path_factory.mktemp("pair")
    before = [dropped("r3_5"), dropped("r3_x"), dropped("r3_y", DropReason.NO_LABEL)]
    no_id = [Dropped("", DropReason.BAD_LINE, f"line {n}", "words.txt") for n in (1, 2)]
    old = base()
    for name in ("r3_5", "r0_7", "r1_7"):
        # 1: prepared only now, 2: added.
        del old[name]
    new = base()
    for edit, (names, _) in EDITS.items():
        # 3 + 3 + 3 + 3 + 2 + 2.
        new |= {name: edit(new[name]) for name in names}
    for name in ("r3_0", "r3_1", "r3_2", "r3_3"):
        # 2 removed, 2 dropped.
        del new[name]
    now = [dropped("r3_2"), dropped("r3_3", DropReason.NO_FACE)]
    # 1: for another reason.
    now += [dropped("r3_x", DropReason.SILENT_AUDIO), dropped("r3_y", DropReason.NO_LABEL)]
    # 1: a setting.
    settings = dataclasses.replace(SETTINGS, text=dataclasses.replace(SETTINGS.text, max_tokens=9))
    a = write_dataset(place / "a", old, [*no_id, *before])
    return a, write_dataset(place / "b", new, [*no_id, *now], settings)


@pytest.fixture(scope="module")
def diff(pair: tuple[Path, Path]) -> Diff:
    subsets = {"train": [f"r{n}_{turn}" for n in (0, 1, 2) for turn in range(8)], "test": ["r3_2"]}
    return diff_datasets(*pair, subsets)


def test_25_planted_changes_are_named_and_no_others(diff: Diff) -> None:
    planted = {name: parts for names, parts in EDITS.values() for name in names}
    assert {one.id: one.parts.keys() for one in diff.changed} == planted
    assert {(m.id, m.before, m.now) for m in diff.added} == {
        ("r0_7", "", "prepared"),
        ("r1_7", "", "prepared"),
        ("r3_5", "no_frame_in_span", "prepared"),
    }
    assert {(m.id, m.before, m.now) for m in diff.removed} == {
        ("r3_0", "prepared", ""),
        ("r3_1", "prepared", ""),
        ("r3_2", "prepared", "no_frame_in_span"),
        ("r3_3", "prepared", "no_face"),
    }
    assert diff.dropped == (Moved("r3_x", "no_frame_in_span", "silent_audio"),)
    assert diff.settings == {"text.max_tokens": (8, 9)}
    both = len(base()) - 3 - 4
    assert diff.utterances == {"before": 37, "now": 36, "same": both - len(planted)}
    assert not diff.media
    assert not diff.equal
    # The setting decides about tokens alone; where these changed, that is told.
    assert {stage: one.count for stage, one in diff.remade.items()} == {"tokens": both - 3}


def test_both_values_are_told(diff: Diff) -> None:
    parts = {one.id: one.parts for one in diff.changed}
    assert parts["r1_0"]["span"] == ([0.0, 1.0], [0.1, 1.1])
    assert parts["r1_0"]["faces"] is None
    assert parts["r1_1"]["words"] == ("Words 1 <&> of 1.", "Other words.")
    assert parts["r1_2"]["label"] == (["sad"], ["ang"])
    assert parts["r2_7"]["rating/valence"] == (None, 4.5)
    assert diff.parts["faces"] == 5
    json.dumps(diff.to_json(), allow_nan=False)


def test_changes_are_counted_by_class_and_subset(diff: Diff) -> None:
    whats = ("before", "now", "added", "removed", "changed")
    subsets = {name: tuple(map(counts.get, whats)) for name, counts in diff.subsets.items()}
    assert subsets == {
        "train": (22, 24, 2, 0, 16),
        "test": (1, 0, 0, 1, 0),
        "none": (14, 12, 1, 3, 0),
    }
    for what in ("before", "now"):
        assert sum(counts[what] for counts in diff.classes.values()) == diff.utterances[what]
    # r0_2, r1_2 and r2_2 are in two rows.
    assert sum(counts["changed"] for counts in diff.classes.values()) == 16 + 3
    assert diff.classes["sad"]["added"] == 1
    assert next(one for one in diff.changed if one.id == "r1_2").subset == "train"
    assert next(one for one in diff.removed if one.id == "r3_3").subset == "none"


def test_the_command_tells_it_as_text_json_and_page(
    pair: tuple[Path, Path], diff: Diff, tmp_path: Path
) -> None:
    a, b = map(str, pair)
    split = Split("random", {}, ("r0_7",), ("r1_7",), ("r3_2",), {})
    write_split(split, tmp_path / "split.json")
    page = tmp_path / "diff.html"
    options = ["--html", str(page), "--split", str(tmp_path / "split.json")]
    said = CliRunner().invoke(shards, ["diff", a, b, *options])
    assert said.exit_code == 1, said.output
    assert re.search(r"r0_7 +neu +train +absent → prepared", said.output)
    html = page.read_text("utf-8")
    for words in ("text.max_tokens", "no_face", "Other words.", "Words 1 &lt;&amp;&gt; of 1."):
        assert words in html
    for one in (*diff.added, *diff.removed, *diff.changed, *diff.dropped):
        assert f"<td>{one.id}</td>" in html
        assert one.id in said.output
    told = CliRunner().invoke(shards, ["diff", a, b, "--json"])
    value = json.loads(told.stdout)
    assert (told.exit_code, value["equal"], value["subsets"]) == (1, False, {})
    assert [one["id"] for one in value["changed"]] == [one.id for one in diff.changed]


def test_equal_datasets_are_equal_however_they_are_cut(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    same = CliRunner().invoke(shards, ["diff", *map(str, (pair[0], pair[0])), "--json"])
    assert (same.exit_code, json.loads(same.stdout)["equal"]) == (0, True)
    # Shards of other bytes: their task has another digest, and there is no catalogue.
    copy = Path(shutil.copytree(pair[0], tmp_path / "copy"))
    (copy / "catalogue.parquet").unlink()
    entries = read_index(copy).shards
    other = dataclasses.replace(
        read_index(copy), shards=(*(dataclasses.replace(e, sha256="f" * 64) for e in entries),)
    )
    write_index(copy, other)
    found = diff_datasets(pair[0], copy, jobs=1)
    assert found.equal
    assert found.utterances == {"before": 37, "now": 37, "same": 37}
    assert "equal" in diff_text(found).splitlines()


def test_shards_that_both_have_are_not_opened(pair: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(pair[0], tmp_path / "copy"))
    for path in copy.glob("*.h5"):
        path.write_bytes(bytes(path.stat().st_size))
    done: list[int] = []
    assert diff_datasets(pair[0], copy, report=done.append).equal
    assert sum(done) == 2 * RECORDINGS
    with pytest.raises(ShardError, match="tests-00000"):
        diff_datasets(copy, pair[1])


def test_other_media_with_equal_values_are_told(tmp_path: Path) -> None:
    some = {name: one for name, one in base().items() if name.startswith("r0")}
    a = write_dataset(tmp_path / "a", some)
    b = write_dataset(tmp_path / "b", some, sha={"r0": (SHA[0], "2" * 64)})
    found = diff_datasets(a, b)
    assert found.media == {"r0": ("audio",)}
    assert found.changed == ()
    assert not found.equal
    # The span of faces is cut to the sound.
    assert {stage: one.count for stage, one in found.remade.items()} == {"faces": 8, "mel": 8}
    assert found.remade["mel"].named == ("r0_0", "r0_1", "r0_2", "r0_3", "r0_4")


def test_datasets_of_other_classes_stages_and_modalities(tmp_path: Path) -> None:
    some = {name: one for name, one in base().items() if name.startswith("r0")}
    a = write_dataset(tmp_path / "a", some)
    settings = dataclasses.replace(SETTINGS, stages=("faces", "mel"), require="a")
    lacking = {
        name: made_of(one, one.utterance, tokens=None, label=np.append(one.label, np.uint8(0)))
        for name, one in some.items()
    }
    gone = {"v": "no_face"}
    third = lacking["r0_3"]
    lacking["r0_3"] = made_of(third, third.utterance, faces=None, missing=gone)
    lacking["r0_4"] = of(lacking["r0_4"], speaker="M2", clamped=True)
    b = write_dataset(tmp_path / "b", lacking, settings=settings, classes=(*CLASSES, "hap"))
    found = diff_datasets(a, b)
    assert found.settings == {
        "label_classes": ([*CLASSES], [*CLASSES, "hap"]),
        "stages": (["faces", "mel", "tokens"], ["faces", "mel"]),
        "require": (MODALITIES, "a"),
    }
    assert found.changed == (
        Changed("r0_3", {"missing/video": ("", "no_face"), "faces": None}, ("ang",)),
        Changed("r0_4", {"speaker": ("F", "M2"), "clamped": None}, ("neu",)),
    )
    assert found.classes["hap"] == dict.fromkeys(found.classes["hap"], 0)


def test_long_tables_are_cut_and_say_so(diff: Diff, tmp_path: Path) -> None:
    many = dataclasses.replace(diff, changed=diff.changed * 80)
    assert "Changed, the first 20 of 1280" in diff_text(many)
    write_diff_page(tmp_path / "many.html", Path("a"), Path("b"), many)
    assert "Changed, the first 1000 of 1280" in (tmp_path / "many.html").read_text("utf-8")


@pytest.mark.slow
def test_a_corpus_that_was_corrected_differs_where_it_was(
    demo, prepared, text_model, prepare, options_for, tmp_path
) -> None:
    raw = Path(shutil.copytree(demo, tmp_path / "raw"))
    names = read_names(prepared)

    def edit(folder: str, name: str, old: str, new: str) -> None:
        dialogue = name.rpartition("_")[0]
        path = next(raw.glob(f"*/dialog/{folder}/{dialogue}.txt"))
        text = path.read_bytes().decode()
        changed = re.sub(old.format(name), new, text, count=1)
        assert changed != text
        path.write_bytes(changed.encode())

    edit("transcriptions", names[0], r"({} .*?:) .*?(?=\r)", r"\1 Other words.")
    edit("EmoEvaluation", names[1], r"({}\t)\w+", r"\1xxx")
    edit("EmoEvaluation", names[2], r"({}\t\w+\t)\[[\d.]+", r"\1[1.5000")
    edit("EmoEvaluation", names[3], r"\[([\d.]+) - ([\d.]+)\](?=\t{})", r"[\1 - 5\2]")
    shards_now = tmp_path / "shards"
    shutil.copytree(prepared, shards_now)
    prepare(options_for(raw, shards_now, text_model))
    found = diff_datasets(prepared, shards_now)
    assert {one.id: one.parts.keys() for one in found.changed} == {
        names[0]: {"words", "tokens"},
        names[2]: {"rating/valence"},
    }
    assert {m.id: m.now for m in found.removed} == {
        names[1]: "label_not_chosen",
        names[3]: "span_outside_media",
    }
    assert not (found.added or found.dropped or found.settings or found.media or found.remade)


def read_names(directory: Path) -> list[str]:
    from fv2es_prep.shards.catalogue import read_catalogue

    return read_catalogue(directory).ids.to_pylist()
