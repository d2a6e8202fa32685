"""Exports are read back by the libraries that they are made for; cards tell what they hold."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.catalogue import read_catalogue, write_catalogue
from fv2es_prep.shards.index import CATALOGUE_NAME, INDEX_NAME, Index, read_index, write_index
from fv2es_prep.shards.tools.export import FORMATS, export
from fv2es_prep.shards.tools.export.croissant import CROISSANT_NAME
from fv2es_prep.shards.tools.export.dataset_card import CARD_NAME
from fv2es_prep.shards.tools.export.shards_card import write_shards_card
from fv2es_prep.shards.tools.export.source import Subsets
from fv2es_prep.shards.tools.show import find_example
from fv2es_prep.splits.manifest import split_of_rows, write_split
from fv2es_prep.types import Provenance
from fv2es_prep.utils.files import sha256_of
from pipelines.commands.shards import shards as commands

SUBSETS = Subsets(
    {"train": frozenset({"1A_é0", "1B_é0", "1A_é1"}), "test": frozenset({"1A_é2"})}, "By hand."
)


def loaded(kind: str, out: Path) -> dict[str, Any]:
    """The names that the card's own lines of Python leave."""
    card = (out / CARD_NAME).read_text("utf-8")
    lines = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]  # type: ignore[index]
    assert lines.strip() == FORMATS.load(kind).load
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        # What these libraries import is not ours.
        warnings.simplefilter("ignore")
        exec(lines.replace("DIR", str(out)), names)
    return names


def from_provenance(directory: Path, *sources: Provenance) -> Index:
    index = dataclasses.replace(read_index(directory), provenance=sources)
    return write_index(directory, write_catalogue(directory, index))


def test_the_types_of_the_library_travel_in_the_files(dataset, tmp_path):
    paths = export(dataset, "datasets", tmp_path / "out")
    schema = pq.read_schema(paths[0])
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"] == {"names": ["ang", "neu"], "_type": "ClassLabel"}
    assert features["faces"]["feature"] == {"_type": "Image"}
    assert features["mel"] == {"shape": [None, 128], "dtype": "float16", "_type": "Array2D"}
    assert features["ratings"]["valence"] == {"dtype": "float32", "_type": "Value"}
    assert list(features) == schema.names
    row = pq.read_table(paths[0]).to_pylist()[2]
    example = find_example(dataset, row["id"]).example
    assert len(row["faces"]) == len(example.faces.rgb)
    assert row["faces"][0]["bytes"].startswith(b"\x89PNG")
    np.testing.assert_array_equal(np.array(row["mel"], np.float16), example.mel.log_power)
    assert example.label[row["label"]] == 1


def test_a_split_gives_each_subset_files_of_its_own(dataset, tmp_path):
    ids = read_catalogue(dataset).ids.to_pylist()
    left = next(name for name in ids if not any(name in of for of in SUBSETS.ids.values()))
    paths = export(dataset, "datasets", tmp_path / "out", subsets=SUBSETS)
    names = [path.relative_to(tmp_path / "out").as_posix() for path in paths]
    files = {name: pq.read_table(tmp_path / "out" / name) for name in names if "data/" in name}
    found = {name: table["id"].to_pylist() for name, table in files.items()}
    for subset, chosen in SUBSETS.ids.items():
        told = [found[name] for name in found if name.startswith(f"data/{subset}-")]
        assert sorted(itertools.chain(*told)) == sorted(chosen)
    assert left not in itertools.chain(*found.values())
    card = (tmp_path / "out" / CARD_NAME).read_text("utf-8")
    assert '{"split": "train", "path": "data/train-*.parquet"}' in card
    assert "## Split\n\nBy hand." in card
    none = Subsets({"train": frozenset({"of another corpus"})})
    with pytest.raises(UsageError, match="the split has no example of"):
        export(dataset, "parquet", tmp_path / "none", subsets=none)


@pytest.mark.slow
def test_lhotse_reads_cuts_and_their_arrays(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export(dataset, "lhotse", tmp_path / "out", subsets=SUBSETS)
    cuts = {cut.id: cut for cut in loaded("lhotse", tmp_path / "out")["cuts"]}
    assert {*cuts} == set(itertools.chain(*SUBSETS.ids.values()))
    for name, cut in cuts.items():
        example = find_example(dataset, name).example
        assert cut.supervisions[0].text == example.utterance.transcript
        assert cut.supervisions[0].custom["labels"] == list(example.utterance.labels)
        np.testing.assert_array_equal(cut.load_features(), example.mel.log_power)
        np.testing.assert_array_equal(cut.load_faces(), example.faces.rgb)
        np.testing.assert_array_equal(cut.load_tokens(), example.tokens)


def test_the_command_takes_a_split(dataset, tmp_path):
    catalogue = read_catalogue(dataset)
    rows = [np.array(some) for some in ([0, 1, 2], [3], [4])]
    write_split(split_of_rows(catalogue, "mine", {}, rows), tmp_path / "split.json")
    given = ["--to", "webdataset", "--out", str(tmp_path / "out")]
    given += ["--split", str(tmp_path / "split.json")]
    result = CliRunner().invoke(commands, ["export", str(dataset), *given])
    assert result.exit_code == 0, result.output
    assert "Recipe mine; digest" in (tmp_path / "out" / CARD_NAME).read_text("utf-8")
    names = sorted(path.name for path in (tmp_path / "out/data").iterdir())
    assert names == ["test-00001.tar", "train-00000.tar", "valid-00001.tar"]


@pytest.mark.parametrize(
    ("sources", "front", "said"),
    [
        ((), "other", "unknown; ask the owner of the corpus"),
        ((Provenance("mine", licence="CC-BY-4.0"),), "cc-by-4.0", "permits passing these data on"),
        ((Provenance("mine", licence="By request only."),), "other", "Do not pass these data on"),
        (
            (Provenance("mine", licence="As I say.", redistributable=True),),
            "other",
            "permits passing these data on",
        ),
    ],
)
def test_a_card_tells_licence_and_people(sources, front, said, dataset, tmp_path):
    index = from_provenance(dataset, *sources)
    card = write_shards_card(dataset, tmp_path)[0].read_text("utf-8")
    assert f'license: "{front}"' in card and said in card
    assert ("Do not pass" in card) != index.may_be_handed_on
    assert "Faces, voices and words are personal data" in card
    assert "| utterances | 5 |" in card and "| class ang |" in card
    assert index.settings.text.tokenizer in card and str(tmp_path) not in card


def test_the_card_of_generated_data_says_so(dataset, tmp_path):
    from_provenance(dataset, Provenance("made", generated=True, licence="CC0-1.0", version="3"))
    export(dataset, "webdataset", tmp_path / "out")
    card = (tmp_path / "out" / CARD_NAME).read_text("utf-8")
    assert "# made 3, prepared with fv2es" in card
    assert "they show no real person" in card and "personal data" not in card


@pytest.mark.parametrize("kind", [*FORMATS.builtin])
def test_a_description_names_the_files_with_their_digests(kind, dataset, tmp_path):
    index = from_provenance(
        dataset, Provenance("mine", licence="CC-BY-4.0", version="2", citation="Me, 2020.")
    )
    paths = export(dataset, kind, tmp_path / "out")
    found = json.loads((tmp_path / "out" / CROISSANT_NAME).read_text("utf-8"))
    assert found["license"] == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert (found["version"], found["citeAs"]) == ("2.0.0", "Me, 2020.")
    objects = {o["contentUrl"]: o["sha256"] for o in found["distribution"] if "sha256" in o}
    files = [path for path in paths if path.parent.name == "data"]
    assert objects == {f"data/{path.name}": sha256_of(path) for path in files}
    write_shards_card(dataset, tmp_path)
    found = json.loads((tmp_path / CROISSANT_NAME).read_text("utf-8"))
    objects = {o["contentUrl"]: o["sha256"] for o in found["distribution"] if "sha256" in o}
    named = {*(shard.name for shard in index.shards), INDEX_NAME, CATALOGUE_NAME}
    assert objects == {name: sha256_of(dataset / name) for name in named}


@pytest.mark.slow
def test_mlcroissant_validates_descriptions_and_reads_records(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlcroissant
    from_provenance(
        dataset, Provenance("mine", licence="CC-BY-4.0", version="2", citation="Me, 2020.")
    )
    ids = read_catalogue(dataset).ids.to_pylist()
    places = {kind: tmp_path / kind for kind in FORMATS.builtin}
    for kind, out in places.items():
        export(dataset, kind, out)
    write_shards_card(dataset, dataset)
    for kind, out in (places | {"shards": dataset}).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = mlcroissant.Dataset(jsonld=str(out / CROISSANT_NAME))
            records = list(read.records("examples"))
        assert not read.metadata.issues.errors
        assert read.metadata.conforms_to == ["http://mlcommons.org/croissant/1.1"]
        texts = [record["examples/id"].decode() for record in records]
        assert sorted(t.removesuffix(".json") for t in texts) == sorted(ids), kind
        if kind == "datasets":
            example = find_example(dataset, texts[0]).example
            faces, mel = records[0]["examples/faces"], records[0]["examples/mel"]
            np.testing.assert_array_equal(np.stack(list(map(np.asarray, faces))), example.faces.rgb)
            np.testing.assert_array_equal(np.array(mel, np.float16), example.mel.log_power)


@pytest.mark.slow
def test_the_library_datasets_reads_it_with_its_types(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    export(dataset, "datasets", tmp_path / "out", subsets=SUBSETS)
    examples = loaded("datasets", tmp_path / "out")["examples"]
    assert {name: len(part) for name, part in examples.items()} == {"train": 3, "test": 1}
    features = examples["train"].features
    assert features["label"] == datasets.ClassLabel(names=["ang", "neu"])
    assert features["faces"] == datasets.List(datasets.Image())
    assert features["mel"] == datasets.Array2D((None, 128), "float16")
    assert features["faces_box"] == datasets.Array2D((None, 4), "float32")
    assert features["ratings"] == {"valence": datasets.Value("float32")}
    row = examples["test"][0]
    example = find_example(dataset, row["id"]).example
    for picture, rgb in zip(row["faces"], example.faces.rgb, strict=True):
        np.testing.assert_array_equal(np.asarray(picture), rgb)
    np.testing.assert_array_equal(np.array(row["mel"], np.float16), example.mel.log_power)
    assert row["text"] == example.utterance.transcript


# WebDataset leaves closing its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_pandas_and_webdataset_read_theirs(dataset, tmp_path):
    export(dataset, "parquet", tmp_path / "parquet")
    names = loaded("parquet", tmp_path / "parquet")
    ids = read_catalogue(dataset).ids.to_pylist()
    assert sorted(names["examples"]["id"]) == sorted(ids)
    example = find_example(dataset, names["example"]["id"]).example
    np.testing.assert_array_equal(names["mel"], example.mel.log_power)

    export(dataset, "webdataset", tmp_path / "tars")
    found = list(loaded("webdataset", tmp_path / "tars")["examples"])
    assert [row["json"]["id"] for row in found] == ids
    for row in found:
        example = find_example(dataset, row["json"]["id"]).example
        np.testing.assert_array_equal(row["faces.npy"], example.faces.rgb)
        np.testing.assert_array_equal(row["mel.npy"], example.mel.log_power)
    del found
    gc.collect()
