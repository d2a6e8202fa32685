"""Tables that commands print: their width, and CSV and Markdown read back."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from fv2es_prep.utils.tables import Table, grid, shown
from fv2es_prep.utils.units import duration, size
from tests.command_line import fv2es

LONG = "a-name-of-a-run-that-is-longer-than-a-narrow-terminal/fold-0/seed-0"


def rows_of_csv(text: str) -> list[list[list[str]]]:
    """The tables of CSV output."""
    return [list(csv.reader(io.StringIO(part))) for part in text.strip().split("\n\n")]


def rows_of_markdown(text: str) -> list[list[str]]:
    """The rows of all tables of Markdown output, rules left out."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if set("".join(row)) != {"-"}]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_table_is_not_wider_than_the_terminal_and_loses_no_character(width: int) -> None:
    table = Table(["run", "n", "f1"], [[LONG, "12", "0.5"], ["b", "3", "-"]], optional=("n",))
    text = grid(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert LONG in "".join(line.split()[0] for line in text.splitlines() if line.strip())
    assert ("--wide also shows n" in text) == (width < 80)


def test_all_columns_are_wide_or_in_the_other_forms() -> None:
    table = Table(["run", "n"], [[LONG * 2, "12"]], [["=sum", "-"]], "Runs", ("n",))
    assert "12" in shown([table], wide=True).splitlines()[3]
    assert rows_of_csv(shown([table, "a note"], "csv")) == [
        [["run", "n"], [LONG * 2, "12"], ["'=sum", ""]]
    ]
    markdown = shown([table, "a note"], "markdown")
    assert rows_of_markdown(markdown) == [["run", "n"], [LONG * 2, "12"], ["=sum", "-"]]
    assert markdown.startswith("Runs\n\n|") and markdown.endswith("\n\na note")


def test_durations_and_sizes_have_the_unit_that_suits_them() -> None:
    assert [duration(s) for s in (0, 45, 720, 5400, 7200, 260_000)] == [
        *("0 s", "45 s", "12 min", "90 min", "2.0 h", "3.0 d")
    ]
    assert [size(n) for n in (0, 999, 16_600_000, 1_200_000_000)] == [
        *("0 B", "999 B", "16.6 MB", "1.2 GB")
    ]


@pytest.fixture(scope="module")
def places(corpus: Path, text_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with shards, a split and two runs."""
    root = tmp_path_factory.mktemp("tables")
    shards, split = root / "shards", root / "split.json"
    prep = ("prep", "iemocap", corpus, "--out", shards, "--tokenizer", text_model)
    stages = ("--stages", "faces,mel,tokens,waveform")
    assert fv2es(*prep, *stages, "--executor", "inline").returncode == 0
    build = ("splits", "build", shards, "--recipe", "random", "--out", split)
    assert fv2es(*build, "--allow-empty-class").returncode == 0
    (root / "raw").symlink_to(corpus)
    (root / "albert").symlink_to(text_model)
    for seed in (0, 1):
        train = ("train", "--shards", shards, "--split", split, "--out", root / f"runs/a-{seed}")
        more = ("--model", "fv2es-tiny", "--modalities", "a", "--epochs", 1, "--seed", seed)
        trained = fv2es(*train, *more)
        assert trained.returncode == 0, trained.stderr
    return root


COMMANDS = {
    "compare": "compare runs/a-0 runs/a-1 --resamples 20",
    "runs": "runs runs",
    "eval": "eval --shards shards --split split.json --run runs/a-0 --by speaker --resamples 20",
    "stats": "splits stats shards split.json",
    "audit": "splits audit shards split.json",
}


@pytest.mark.parametrize(
    "words",
    [
        *COMMANDS.values(),
        "splits build shards --recipe random --out again.json --allow-empty-class",
        "splits list",
        "shards info shards",
        "shards diff shards shards",
        "shards status shards",
        "shards add shards mfcc --dry-run",
        "doctor --no-speed",
        "shards check shards --max 1000",
        "shards show shards Ses01F_impro01_F000",
        "push runs/a-0 someone/name --dry-run",
        "prep iemocap raw --out new --tokenizer albert --dry-run",
        "config env",
        "config diff runs/a-0 runs/a-1",
    ],
)
def test_output_fits_80_columns(words: str, places: Path) -> None:
    result = fv2es(*words.split(), cwd=places, COLUMNS="80")
    assert result.stdout, result.stderr
    assert [line for line in result.stdout.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_table_of_results_is_read_back_from_csv_and_markdown(name: str, places: Path) -> None:
    def printed(*more: str) -> str:
        result = fv2es(*COMMANDS[name].split(), *more, cwd=places, COLUMNS="80")
        assert result.returncode == 0, result.stderr
        return result.stdout

    tables = rows_of_csv(printed("--format", "csv"))
    for table in tables:
        assert len(table) > 1 and len({len(row) for row in table}) == 1
    found = rows_of_markdown(printed("--format", "markdown"))
    assert [row[0].strip() for table in tables for row in table] == [
        row[0].strip() for row in found
    ]
    assert json.loads(printed("--json"))


@pytest.mark.slow
def test_a_bench_is_read_back_too(places: Path) -> None:
    words = "bench --shards shards --split split.json --out bench --models fv2es-tiny"
    more = "--modalities a --set train.epochs=1 --resamples 20"
    for form in ("table", "csv", "markdown"):
        asked = (*words.split(), *more.split(), "--format", form)
        result = fv2es(*asked, cwd=places, COLUMNS="80")
        assert result.returncode == 0, result.stderr
        if form == "csv":
            [table] = rows_of_csv(result.stdout)
            assert table[0][:3] == ["model", "modalities", "metric"] and len(table) > 3
        elif form == "markdown":
            assert rows_of_markdown(result.stdout)[0][:2] == ["model", "modalities"]
        else:
            assert max(map(len, result.stdout.splitlines())) <= 80
