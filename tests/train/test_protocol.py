"""Protocols of papers: their files, what fits them, and published results beside ours."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fv2es_prep.corpora import CORPORA
from fv2es_prep.errors import SplitError, UsageError
from fv2es_prep.shards.catalogue import Catalogue, read_catalogue
from fv2es_prep.splits import read_split
from fv2es_prep.splits.audit import audit_split
from fv2es_prep.splits.published import published_splits
from fv2es_prep.utils.configuration import resolve
from fv2es_train.bench.bench_config import BenchConfig
from fv2es_train.bench.bench_forms import format_bench, write_tables
from fv2es_train.bench.bench_splits import described, manifests_for
from fv2es_train.bench.bench_table import summary_of
from fv2es_train.bench.protocol import preset_of, protocols, read_protocol
from fv2es_train.commands.bench import bench as command
from fv2es_train.evaluation.metrics import METRICS, SINGLE_METRICS
from tests.train.conftest import Corpus

FILE = """
title = "Six classes of the tests"
corpus = "tests"
classes = ["sad", "neu", "hap", "fru", "exc", "ang"]
utterances = 100
contract = "Plain accuracy."
[split]
recipe = "random"
folds = 3
[bench]
metrics = ["accuracy"]
models = ["linear"]
[bench.train]
decision = "thresholds"
linear.model.l2 = 0.5
[sources]
paper = "A & B 2020, Table 1"
another = "never named"
[[published]]
system = "Theirs"
source = "paper"
percent.accuracy = { mean = 84.77, ang = 90.5 }
percent.f1_binary = { mean = 50 }
[[published]]
system = "Older"
modalities = ""
source = "paper"
percent.accuracy = { mean = 80 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def catalogue(corpus: Corpus) -> Catalogue:
    return read_catalogue(corpus.shards)


def config_of(file: Path | str, **more: Any) -> BenchConfig:
    given = {"shards": "shards", "out": "out", "protocol": str(file), **more}
    return resolve(BenchConfig, given, preset_of(given))


@pytest.mark.parametrize("name", protocols())
def test_a_protocol_names_what_exists(name: str) -> None:
    protocol, config = read_protocol(name), config_of(name)
    corpus = CORPORA.load(protocol.corpus)
    assert {*protocol.classes} <= {*corpus.classes}
    assert bool(protocol.split.recipe) != bool(protocol.split.published)
    known = [split.name for split in published_splits()]
    assert not protocol.split.published or protocol.split.published in known
    metrics = {*METRICS, *(f"single_label.{metric}" for metric in SINGLE_METRICS)}
    assert config.metrics and {*config.metrics} <= metrics
    for row in protocol.published:
        assert {*row.percent} <= metrics and {*row.modalities} <= {*"tav"}
        for values in row.percent.values():
            assert {*values} <= {*protocol.classes, "mean"}


def test_published_means_are_those_of_their_classes() -> None:
    checked = 0
    for name in protocols():
        for row in read_protocol(name).published:
            for values in row.percent.values():
                classes = [value for of, value in values.items() if of != "mean"]
                if classes and "mean" in values:
                    assert sum(classes) / 6 == pytest.approx(values["mean"], abs=0.1), row
                    checked += 1
    assert checked == 24


def test_a_file_sets_defaults_that_the_user_overrides(file: Path) -> None:
    config = config_of(file, **{"train.epochs": 2, "models": ("mult", "linear")})
    assert config.models == ("mult", "linear") and config.metrics == ("accuracy",)
    assert config.train == {"decision": "thresholds", "linear.model.l2": 0.5, "epochs": 2}


def test_the_documented_file_is_a_protocol(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/bench.md").read_text("utf-8")
    assert all(f"| `{name}` |" in page for name in protocols())
    (tmp_path / "mine.toml").write_text(page.rpartition("```toml\n")[2].partition("```")[0])
    assert config_of(tmp_path / "mine.toml").metrics == ("accuracy",)


def test_its_recipe_makes_the_folds(
    file: Path, corpus: Corpus, catalogue: Catalogue, tmp_path: Path
) -> None:
    config = config_of(file, shards=corpus.shards, out=tmp_path / "out")
    manifests = manifests_for(config, catalogue)
    splits = [read_split(manifest) for manifest in manifests]
    assert [path.name for path in manifests] == ["fold-0.json", "fold-1.json", "fold-2.json"]
    assert {*splits[0].test, *splits[1].test, *splits[2].test} == {*catalogue.ids.to_pylist()}
    again = manifests_for(config, catalogue)
    assert [read_split(manifest) for manifest in again] == splits
    with pytest.raises(UsageError, match=r"mine\.toml makes its own split"):
        manifests_for(replace(config, split=corpus.split), catalogue)
    with pytest.raises(UsageError, match="the bench has no split"):
        manifests_for(replace(config, protocol=""), catalogue)
    changed = replace(config, train={**config.train, "decision": "largest"})
    assert described(changed, catalogue, splits)["notes"] == [
        "train.decision is largest, in the protocol it is thresholds",
        "the shards have 36 utterances, the protocol 100",
    ]


def test_another_dataset_or_split_is_refused_in_a_sentence(
    file: Path, corpus: Corpus, catalogue: Catalogue, tmp_path: Path
) -> None:
    app, words = typer.Typer(), ["--shards", str(corpus.shards), "--out", str(tmp_path / "out")]
    app.command()(command)
    with pytest.raises(UsageError) as refused:
        CliRunner().invoke(app, [*words, "--protocol", "iemocap-4"], catch_exceptions=False)
    assert "contains tests with the classes ang, exc, fru, hap, neu, sad; the" in str(refused.value)
    assert "--labels ang,hap,neu,sad --merge exc=hap" in str(refused.value.hint)
    with pytest.raises(UsageError, match="unknown protocol 'iemocap'"):
        config_of("iemocap")
    other = FILE.replace('recipe = "random"\nfolds = 3', 'published = "iemocap-mme2e"')
    file.write_text(other)
    split = read_split(corpus.split)
    with pytest.raises(SplitError, match="expected the published split iemocap-mme2e"):
        described(config_of(file), catalogue, [split])
    mine = {"published": "iemocap-mme2e", "changed": {"test": {}}, "not_in_shards": {"test": 2}}
    notes = described(config_of(file), catalogue, [replace(split, parameters=mine)])["notes"]
    assert notes[1:] == [
        "the lists of test differ from the published ones",
        "2 utterances of the published lists are not in the shards",
    ]
    for before, after, expected in (
        ('recipe = "random"', "recipe = 3", "`str`, got `int`"),
        ('contract = "', 'contracts = "', "contract"),
        ('source = "paper"', 'source = "book"', "unknown source 'book'"),
    ):
        file.write_text(FILE.replace(before, after))
        with pytest.raises(UsageError, match=expected):
            read_protocol(str(file))


def test_published_results_stand_beside_ours_with_their_source(
    file: Path, corpus: Corpus, catalogue: Catalogue, tmp_path: Path
) -> None:
    split = read_split(corpus.split)
    metrics = {"accuracy": {"mean": 0.7, "spread": None, "interval": [0.6, 0.8]}}
    metrics["accuracy"] |= dict.fromkeys(("difference", "difference_interval", "p"))
    row = {"model": "lf-transformer", "modalities": "tav", "runs": 1, "seconds": 1.0}
    result = {
        "protocol": described(config_of(file), catalogue, [split]),
        "split": summary_of([audit_split(catalogue, split)]),
        "metrics": ["accuracy"],
        "bootstrap": None,
        "rows": [{**row, "metrics": metrics}],
    }
    for wide in (False, True):
        text = format_bench(result, wide)
        assert "accuracy, published, not run here" in text and "[1] A & B 2020, Table 1" in text
        assert ["Theirs", "tav", "0.8477", "0.9050", "[1]"] in [
            line.split() for line in text.splitlines()
        ]
        assert ["Older", "-", "0.8000", "-", "[1]"] in [line.split() for line in text.splitlines()]
        assert "never named" not in text and "have 36 utterances, the protocol 100" in text
        assert ("seconds" in text) is wide
    assert max(map(len, format_bench(result).splitlines())) <= 80
    write_tables(tmp_path, result)
    with (tmp_path / "table.csv").open() as lines:
        found = [line for line in csv.DictReader(lines) if line["source"]]
    assert [(line["model"], line["metric"], line["mean"], line["runs"]) for line in found] == [
        ("Theirs", "accuracy", "0.8477", ""),
        ("Theirs", "accuracy.ang", "0.9050", ""),
        ("Theirs", "f1_binary", "0.5000", ""),
        ("Older", "accuracy", "0.8000", ""),
    ]
    assert {line["source"] for line in found} == {"A & B 2020, Table 1"}
    assert "| Theirs | tav | 0.8477 | 0.9050 | [1] |" in (tmp_path / "table.md").read_text()
    assert "Theirs & tav & 0.8477 & 0.9050 & [1] " in (tmp_path / "table.tex").read_text()


def test_the_tables_of_all_protocols_fit_80_columns(
    file: Path, corpus: Corpus, catalogue: Catalogue
) -> None:
    split = read_split(corpus.split)
    summary = summary_of([audit_split(catalogue, split)])
    for name in protocols():
        protocol = read_protocol(name)
        published = [
            {
                "system": r.system,
                "modalities": r.modalities,
                "source": r.source,
                "percent": r.percent,
            }
            for r in protocol.published
        ]
        shown = {"name": name, "title": protocol.title, "contract": protocol.contract, "notes": []}
        shown |= {"sources": protocol.sources, "published": published}
        text = format_bench(
            {"protocol": shown, "split": summary, "metrics": [], "bootstrap": None, "rows": []}
        )
        assert max(map(len, text.splitlines())) <= 80, name
