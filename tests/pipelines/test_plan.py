from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fv2es_prep.config import FrameSettings, MelSettings, PrepSettings
from fv2es_prep.corpora.inventory import LabelChoice, make_inventory
from fv2es_prep.errors import DropReason, SettingsError, TokenizerError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.index import shard_names
from fv2es_prep.types import Recording, Utterance
from pipelines.build import quarantine_shard
from pipelines.cache import shards_of
from pipelines.commands.plan_text import describe
from pipelines.plan import make_plan, plan_corpus
from pipelines.task import cost_s, estimate_s, longest_first

SOURCE = Path(__file__)
SPANS = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 50), st.floats(0.1, 9)), min_size=1, max_size=30
)


def inventory_of(spans, seed=0):
    """An inventory whose recordings are this file; only spans matter to a plan."""
    utterances = [
        Utterance(f"utt{n}", f"rec{rec}", start, start + length, "", ("ang",))
        for n, (rec, start, length) in enumerate(spans)
    ]
    random.Random(seed).shuffle(utterances)
    recordings = [Recording(f"rec{n}", SOURCE, SOURCE) for n in range(6)]
    return make_inventory("tests", recordings, utterances, [], LabelChoice(("ang",)))


@settings(deadline=None)
@given(spans=SPANS, megabytes=st.floats(0.01, 2), seed=st.integers(0, 99))
def test_a_plan_covers_each_utterance_once_whatever_their_order(spans, megabytes, seed):
    out = Path("nowhere")
    plan = make_plan(inventory_of(spans), PrepSettings(), "tests", out, megabytes)
    planned = [u for task in plan.tasks for u in task.utterances]
    assert sorted(u.id for u in planned) == sorted(f"utt{n}" for n in range(len(spans)))
    again = make_plan(inventory_of(spans, seed), PrepSettings(), "tests", out, megabytes)
    assert again.tasks == plan.tasks
    for task in plan.tasks:
        for recording, utterances in task.by_recording():
            assert {u.recording_id for u in utterances} == {recording.id}
    in_shards = [{u.recording_id for u in task.utterances} for task in plan.tasks]
    assert sum(map(len, in_shards)) == len(set().union(*in_shards)), "a recording was divided"


def test_the_cut_follows_the_expected_size():
    spans = [(n, 0.0, 9.0) for n in range(6)]
    sizes = [
        len(make_plan(inventory_of(spans), PrepSettings(), "tests", Path("no"), mb).tasks)
        for mb in (0.1, 0.6, 99)
    ]
    assert sizes == [6, 3, 1]
    with pytest.raises(SettingsError, match="0 MB"):
        make_plan(inventory_of(spans), PrepSettings(), "tests", Path("no"), 0)


def test_what_a_person_excludes_changes_no_other_shard():
    inventory = inventory_of([(n, float(k), 9.0) for n in range(6) for k in range(3)])
    every = make_plan(inventory, PrepSettings(), "tests", Path("no"), 0.6)
    gone = {u.id: "" for u in every.tasks[1].utterances} | {"utt0": "a note", "unknown": ""}
    less = make_plan(inventory, PrepSettings(), "tests", Path("no"), 0.6, left_out=gone)
    assert [task.path for task in less.tasks] == [task.path for task in every.tasks]
    assert less.tasks[2:] == every.tasks[2:]
    assert not less.tasks[1].utterances and not less.tasks[1].recordings
    assert less.tasks[0].made_from != every.tasks[0].made_from
    left = [u.id for task in less.tasks for u in task.utterances]
    assert left == [u.id for u in inventory.utterances if u.id not in gone]
    said = {entry.id: (entry.reason, entry.sentence) for entry in less.inventory.dropped}
    assert said.keys() == gone.keys() - {"unknown"}
    assert said["utt0"] == (DropReason.EXCLUDED, "marked as exclude: a note")
    everything = {u.id: "" for u in inventory.utterances}
    with pytest.raises(SettingsError, match="all 18 utterances are excluded"):
        make_plan(inventory, PrepSettings(), "tests", Path("no"), left_out=everything)


def test_planning_is_linear_and_reads_the_settings_once(monkeypatch):
    asked = []
    plain = PrepSettings.to_json
    monkeypatch.setattr(PrepSettings, "to_json", lambda self: asked.append(1) or plain(self))
    inventory = inventory_of([(n, float(k), 9.0) for n in range(6) for k in range(9)])
    recordings = inventory.recordings
    inventory = replace(inventory, recordings=Counted(recordings))
    plan = make_plan(inventory, PrepSettings(), "tests", Path("no"), 0.01)
    assert len(plan.tasks) == 6
    assert [task.recordings for task in plan.tasks] == [(recording,) for recording in recordings]
    # Once for the digests of all tasks, once for the fingerprints' settings.
    assert len(asked) <= 2
    assert Counted.passes <= 2, "the recordings were searched again for each shard"


class Counted(tuple):
    """A tuple that counts how often it is gone through."""

    passes = 0

    def __iter__(self):
        Counted.passes += 1
        return super().__iter__()


def test_a_receipt_brings_the_rows_of_the_catalogue(tmp_path):
    inventory = inventory_of([(0, 0.0, 3.0)])
    receipt = quarantine_shard(
        make_plan(inventory, PrepSettings(), "tests", tmp_path).tasks[0], "its worker died"
    )
    rows = pa.ipc.open_stream(receipt.rows).read_all()
    assert (len(rows), receipt.examples, len(receipt.dropped)) == (0, 0, 1)
    assert {"id", "label/ang", "mel", "count/faces/found"} <= {*rows.schema.names}


def test_more_than_100_000_shards_have_names_in_order(tmp_path):
    few, many = shard_names("tests", 100_000), shard_names("tests", 100_001)
    assert (few[0], few[-1]) == ("tests-00000.h5", "tests-99999.h5")
    assert (many[0], many[-1]) == ("tests-0000000000.h5", "tests-0000100000.h5")
    assert many == sorted(many)
    for name in (few[7], many[7], "tests-123456.h5", "tests-a-00001.h5"):
        (tmp_path / name).touch()
    assert [path.name for path in shards_of(tmp_path, "tests")] == [many[7], few[7]]


@pytest.mark.parametrize(
    "changed",
    [
        PrepSettings(frames=FrameSettings(0.25)),
        PrepSettings(mel=MelSettings(n_mels=64)),
    ],
)
def test_the_task_digest_follows_settings_and_utterances(changed):
    inventory = inventory_of([(0, 0.0, 3.0), (0, 1.0, 2.0)])
    digest = _digest(inventory, PrepSettings())
    assert digest == _digest(inventory, PrepSettings())
    assert digest != _digest(inventory, changed)
    other = replace(inventory.utterances[0], transcript="other words")
    moved = replace(inventory, utterances=(other, *inventory.utterances[1:]))
    assert digest != _digest(moved, PrepSettings())


def _digest(inventory, chosen):
    return make_plan(inventory, chosen, "tests", Path("no")).tasks[0].made_from


def test_a_plan_knows_how_many_frames_there_will_be(
    corpus, text_model, prepared, tmp_path, options_for
):
    plan = plan_corpus(options_for(corpus, tmp_path, text_model))
    planned = {u.id: plan.settings.frames.count(u.duration_s) for u in plan.inventory.utterances}
    catalogue = read_catalogue(prepared)
    assert planned == dict(
        zip(catalogue.ids.to_pylist(), catalogue.counts["faces"].tolist(), strict=True)
    )
    described = describe(plan, 2)
    assert described["frames"] == catalogue.counts["faces"].sum()
    assert described["shard_bytes"] / sum(p.stat().st_size for p in prepared.glob("*.h5")) > 0.9


def test_the_longest_comes_first():
    spans = [(0, 0.0, 1.0), (1, 0.0, 9.0), (2, 0.0, 3.0)]
    tasks = make_plan(inventory_of(spans), PrepSettings(), "tests", Path("no"), 0.01).tasks
    names = [task.path.name for task in longest_first(tasks)]
    assert names == ["tests-00001.h5", "tests-00002.h5", "tests-00000.h5"]
    one, nine, three = map(cost_s, tasks)
    assert estimate_s(tasks, 1) == pytest.approx(one + nine + three)
    assert estimate_s(tasks, 2) == pytest.approx(nine)


def test_a_dry_run_needs_no_tokenizer_and_tells_what_the_scan_left_out(
    corpus, shards, options_for, monkeypatch
):
    def asked(*_, **__):
        raise AssertionError("a dry run asked the hub")

    options = options_for(corpus, shards, "nobody/no-tokenizer", labels=("ang", "sad"))
    with pytest.raises(TokenizerError):
        plan_corpus(options)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", asked)
    described = describe(plan_corpus(options, dry_run=True), 1)
    left_out = described["left_out"]
    assert left_out["label_not_chosen"] > 0
    assert sum(left_out.values()) == described["dropped_by_scan"]
    why = "the tokenizer nobody/no-tokenizer is not on this machine, so tokens count as changed"
    assert why in described["why"]
    assert not any("vocabulary" in reason for reason in described["why"])
