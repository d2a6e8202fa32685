"""The benchmarks measure what they say, on media of a few seconds; how fast is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import detection, material, predict, published, report
from benchmarks.bench import Bench
from benchmarks.pictures import Clip
from benchmarks.results import Section, Table, Verdict
from benchmarks.timing import Noise, in_rounds, median_of, work
from fv2es_prep.types import View


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def dialogues(out: Path) -> Path:
    return material.iemocap_shaped(out, 16.0, 3)


def test_iemocap_shaped_material_is_read_by_the_adapter(dialogues: Path):
    inventory = material.inventory_of(dialogues)
    names = [recording.id for recording in inventory.recordings]
    assert names == [f"Ses0{session}F_impro01" for session in (1, 2, 3)]
    assert len(inventory.utterances) == 6
    covered = sum(utterance.duration_s for utterance in inventory.utterances)
    assert covered == pytest.approx(0.72 * 3 * 16, rel=0.05)
    assert {utterance.view.half for utterance in inventory.utterances} == {"left", "right"}


def test_mosei_shaped_material_is_an_inventory_of_whole_pictures(out: Path):
    inventory = material.inventory_of(material.mosei_shaped(out, 2.0, 3))
    assert inventory.corpus == "mosei"
    assert len(inventory.recordings) == 3
    assert {utterance.view for utterance in inventory.utterances} == {View(max_lines=360)}
    assert inventory.dropped == ()


def test_material_is_made_once(out: Path, dialogues: Path):
    made = (dialogues / "Session1").stat().st_mtime_ns
    assert material.iemocap_shaped(out, 16.0, 3) == dialogues
    assert (dialogues / "Session1").stat().st_mtime_ns == made


def test_the_published_tree_holds_every_picture_of_both_halves(dialogues: Path, tmp_path: Path):
    found = published.dump(str(dialogues), str(tmp_path), limit_s=16.0)
    assert found["utterances"] == 2
    assert found["media_s"] == pytest.approx(16, abs=0.1)
    pictures = list(tmp_path.rglob("image_*.jpg"))
    assert len(pictures) == pytest.approx(2 * 29.97 * found["speech_s"], abs=4)
    assert found["files"] == len(pictures) + 2 * 4
    assert found["bytes"] == sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())


def test_faces_are_compared_with_the_yardsticks(tmp_path: Path):
    clip = Clip("a.avi", (0.0, 0.5, 1.0, 1.5), tmp_path / "unused.npy")
    box, near, far = [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.5], [5.0, 0.0, 15.0, 10.0]
    wanted = [(box, 0.99), (box, 0.9), (box, 0.8), (None, 0.0)]
    found = [(box, 0.99), (near, 0.9), (far, 0.7), (None, 0.0)]
    told = detection.compare([clip], [wanted], [found])
    assert (told["pictures"], told["faces"]) == (4, 3)
    assert (told["same_box"], told["alike"]) == (0.5, 0.75)
    assert [entry["time_s"] for entry in told["exceptions"]] == [0.5, 1.0]
    assert told["exceptions"][1]["facenet_prob"] == 0.8
    assert detection.overlap(box, far) == pytest.approx(1 / 3)
    assert detection.overlap(None, box) == 0


def test_every_way_is_measured_in_every_round():
    calls: list[str] = []
    noise = Noise()
    ways = {name: lambda name=name: calls.append(name) or {"n": len(calls)} for name in "ab"}
    found = in_rounds(ways, 3, noise)
    assert calls == list("ababab")
    assert median_of(found["b"], "n") == 4
    assert noise.to_json()["times"] == 6
    assert work(3) == work(3)


def test_a_verdict_without_a_value_is_neither_pass_nor_fail():
    values = (0.5, 2.0, None)
    assert [Verdict("x", value, 1.0).passed for value in values] == [False, True, None]
    assert [Verdict("x", value, 1.0, "at most").passed for value in values] == [True, False, None]


def test_the_report_tells_tables_verdicts_and_errors(tmp_path: Path):
    table = Table("things in kB", ("what", "kB"), (("a", 1234.5), ("longer", None)))
    verdicts = (Verdict("small enough", 3.0, 2.0, "at most"), Verdict("unknown", None, 1.0))
    sections = {"c": Section((table,), verdicts, ("mind the gap",), {"a": 1})}
    bench = Bench(tmp_path)
    machine = report.describe_machine(bench)
    text = report.text_of(machine, "quick", {"c": "bytes"}, sections, {"a": "it broke"})
    for words in ("== c: bytes", "1234", "mind the gap", "FAIL", "not measured", "it broke"):
        assert words in text
    report.write_json(tmp_path / "bench.json", machine, "quick", sections, {"a": "it broke"})
    told = json.loads((tmp_path / "bench.json").read_text())
    assert told["sections"]["c"]["verdicts"][0]["passed"] is False
    assert told["machine"]["cores"] == bench.cores
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("t", ("a", "b"), (("x",),))


def test_a_section_that_fails_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(program, "SECTIONS", {"a": "there_is_no_such_section", "c": "size"})
    # Section c asks for one dialogue; a file in its place makes it fail, too, but on its own.
    (tmp_path / "material").write_text("")
    assert program.run(Bench(tmp_path), ["a", "c"]) == 1
    printed = capsys.readouterr().out
    assert "error: section a: ModuleNotFoundError" in printed
    assert "error: section c: " in printed
    assert set(json.loads((tmp_path / "bench.json").read_text())["errors"]) == {"a", "c"}


@pytest.mark.slow
def test_the_section_of_bytes_from_end_to_end(out: Path, capsys: pytest.CaptureFixture[str]):
    class Short(Bench):
        dialogue_s = 16.0
        recordings = 3

    assert program.run(Short(out), ["c"]) == 0
    assert "(3) published tree / shards of fv2es prep" in capsys.readouterr().out
    assert (out / "c-size.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_section_of_prediction_from_end_to_end(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(predict, "LENGTHS_S", {True: (5, 10)})
    assert program.run(Bench(out, rounds=1), ["p"]) == 0
    data = json.loads((out / "bench.json").read_text())["sections"]["p"]["data"]
    for row in data["rows"]:
        assert (row["asr"] is None) == (data["asr"] is None)
        for name in ("fv2es", "fv2es-lite", "fv2es-tiny"):
            for form in ("fused", "branches"):
                for what in ("its faces", "its sound", "model", "warm"):
                    assert row[f"{name}: {what}, {form}"] > 0
            assert row[f"{name}: first"] > 0
    printed = capsys.readouterr().out
    assert "real-time factor" in printed
    assert ("not measured" in printed) == (data["asr"] is None)
