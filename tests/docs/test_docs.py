"""What the documentation says is what the program does: pages are current, links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import FORMAT_VERSION
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.splits.recipes import RECIPES, SHARES
from fv2es_prep.types import Example, Faces, MelSpectrum, Utterance

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CLASSES = ("ang", "hap", "sad")

PARTS = (
    *("fv2es_prep", "pipelines", "fv2es_train", "fv2es_recipe"),
    *("docs", "manifests", "tests", "benchmarks"),
)
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:work|tmp/dev|home|Users)/")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SECTIONS = ("Context", "Choice", "Alternatives", "Consequences")


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()
COMMANDS = dict(generate.commands())
LEAVES = {name: command for name, command in COMMANDS.items() if not hasattr(command, "commands")}


def markdown_files() -> list[Path]:
    inside = (
        path for part in ("docs", "manifests", "benchmarks") for path in (ROOT / part).rglob("*.md")
    )
    return sorted([*ROOT.glob("*.md"), *inside])


def committed_texts() -> list[Path]:
    inside = (path for part in PARTS for path in (ROOT / part).rglob("*"))
    kinds = {".py", ".md", ".json", ".toml", ".txt", ".lock", ".sh", ".csv", ".html", ""}
    # In a git worktree `.git` is a file.
    files = [*(path for path in ROOT.glob("*") if path.name != ".git"), ROOT / ".ci/run", *inside]
    return sorted(
        path
        for path in files
        if path.is_file() and path.suffix in kinds and "__pycache__" not in path.parts
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = HEADING.findall(path.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_generated_part_stands_in_a_page() -> None:
    text = "".join(path.read_text("utf-8") for path in DOCS.rglob("*.md"))
    assert [name for name in generate.BLOCKS if f"<!-- generated:{name} -->" not in text] == []


def test_generated_parts_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_what_is_out_of_date_is_found_and_written(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("__pycache__"))
    page = docs / "shard-format.md"
    page.write_text(page.read_text("utf-8").replace("| `no_id` |", "| `no_idea` |"), "utf-8")
    (docs / "cli.md").unlink()
    assert generate.main(["--check"], docs) == 1
    assert not (docs / "cli.md").exists()
    assert generate.main([], docs) == 0
    assert generate.main(["--check"], docs) == 0
    assert page.read_text("utf-8") == (DOCS / "shard-format.md").read_text("utf-8")


@pytest.mark.parametrize("variable", ["COLUMNS", "TERMINAL_WIDTH", "FORCE_COLOR"])
def test_help_is_the_same_on_every_terminal(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "43")
    page = generate.cli_page()
    assert page == (DOCS / "cli.md").read_text("utf-8")
    assert "\x1b" not in page


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_on_the_page(name: str) -> None:
    assert f"\n## {name}\n" in (DOCS / "cli.md").read_text("utf-8")


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_has_an_example_that_parses(name: str) -> None:
    example = LEAVES[name].epilog or ""
    assert example.startswith(f"Example: {name}"), example
    words = example.removeprefix(f"Example: {name}").split()
    LEAVES[name].make_context(name, words)


@pytest.mark.parametrize("path", markdown_files(), ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(CODE.sub("", path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        found = (path.parent / place).resolve() if place else path
        assert found.exists(), f"{name_of(path)} links to {target}"
        assert not anchor or anchor in anchors(found), f"{name_of(path)} links to {target}"


@pytest.mark.parametrize("path", markdown_files(), ids=name_of)
def test_commands_that_are_shown_exist(path: Path) -> None:
    shown = re.findall(
        r"(?:^\$ |`)(fv2es(?: [a-z]+(?:-[a-z]+)*)+)", path.read_text("utf-8"), re.MULTILINE
    )
    for words in shown:
        first = " ".join(words.split()[:2])
        assert first in COMMANDS, f"{name_of(path)} shows `{words}`"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    pages = [path.relative_to(DOCS) for path in DOCS.rglob("*.md") if path != DOCS / "README.md"]
    assert [str(page) for page in pages if f"({page.as_posix()})" not in index] == []


def test_decisions_have_their_parts() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    for number, page in enumerate(pages, start=1):
        text = page.read_text("utf-8")
        assert page.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. ")
        assert "\nStatus: " in text
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(SECTIONS), page.name


def test_invariants_are_numbered_without_gaps() -> None:
    text = (DOCS / "shard-format.md").read_text("utf-8")
    numbers = [int(number) for number in re.findall(r"^- \*\*I(\d+)\*\*", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_the_page_is_of_the_version_that_is_written() -> None:
    first = (DOCS / "shard-format.md").read_text("utf-8").splitlines()[0]
    assert first == f"# The shard format, version {FORMAT_VERSION}"


def test_recipes_are_those_of_the_code() -> None:
    recipes = json.loads((ROOT / "manifests/recipes.json").read_text("utf-8"))["recipes"]
    assert [recipe["name"] for recipe in recipes] == list(RECIPES)
    assert recipes[0]["parameters"]["shares"] == list(SHARES)


def test_no_text_names_a_path_of_some_machine() -> None:
    found = [name_of(p) for p in committed_texts() if MACHINE_PATH.search(p.read_text("utf-8"))]
    assert found == []


def make_example(number: int, rng: np.random.Generator) -> Example:
    count, rows = number + 1, 50 + number
    label = np.zeros(len(CLASSES), np.uint8)
    label[number % len(CLASSES)] = 1
    return Example(
        utterance=Utterance(
            id=f"utt{number}",
            recording_id="rec",
            start_s=float(number),
            end_s=number + rows * 0.0125,
            transcript="naïve — «yes»" if number == 0 else "no",
            labels=(CLASSES[number % len(CLASSES)],),
        ),
        label=label,
        faces=Faces(
            rgb=rng.integers(0, 256, (count, 48, 48, 3), dtype=np.uint8),
            times_s=number + np.arange(count) * 0.5,
            found=np.arange(count) > 0,
            box=rng.uniform(0, 224, (count, 4)).astype(np.float32),
            prob=(np.arange(count) > 0).astype(np.float32),
        ),
        mel=MelSpectrum(rng.uniform(-23, 8, (rows, 128)).astype(np.float16), 0.0125),
        tokens=rng.integers(0, 40, 3 + number).astype(np.int32),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds shards/iemocap-00000.h5 with three examples."""
    place = tmp_path_factory.mktemp("reading")
    (place / "shards").mkdir()
    settings = PrepSettings(text=TextSettings(tokenizer="tests", vocabulary_size=40))
    header = ShardHeader("iemocap", CLASSES, (), settings, {}, task_digest="")
    rng = np.random.default_rng(0)
    with ShardWriter(place / "shards/iemocap-00000.h5", header) as writer:
        for number in range(3):
            writer.append(make_example(number, rng))
        writer.close()
    return place


@pytest.mark.parametrize("row", [0, 2])
def test_the_plain_reader_gives_what_ours_gives(
    row: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / "shard-format.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "row = 0\n" in block
    monkeypatch.chdir(place)
    got: dict[str, Any] = {}
    exec(compile(block.replace("row = 0\n", f"row = {row}\n"), "shard-format.md", "exec"), got)
    with ShardReader(place / "shards/iemocap-00000.h5") as reader:
        example = reader.read(row)
    assert got["text"] == example.utterance.transcript
    assert got["label"] == dict(zip(CLASSES, example.label, strict=True))
    for name, expected in (
        ("faces", example.faces.rgb),
        ("times_s", example.faces.times_s),
        ("power", np.exp(example.mel.log_power.astype(np.float32))),
        ("tokens", example.tokens),
    ):
        np.testing.assert_array_equal(got[name], expected)
        assert got[name].dtype == expected.dtype


def test_a_column_can_be_mapped_at_its_offset(place: Path) -> None:
    import h5py

    path = place / "shards/iemocap-00000.h5"
    with h5py.File(path) as shard:
        column = shard["mel/values"]
        offset, dtype, shape = column.id.get_offset(), column.dtype, column.shape
        stored = column[:]
    mapped = np.memmap(path, dtype, "r", offset, shape)
    np.testing.assert_array_equal(mapped, stored)


def test_each_threat_names_a_test_that_exists() -> None:
    rows = re.findall(
        r"^\| .* \| `([\w/.]+)::(\w+)` \|$", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) > 20
    for file, name in rows:
        assert f"\ndef {name}(" in (ROOT / file).read_text("utf-8"), f"{file} has no {name}"
