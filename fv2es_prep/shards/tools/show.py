"""Shows one example as text, as JSON values, and as pictures."""

from __future__ import annotations

import difflib
import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.errors import UsageError
from fv2es_prep.shards.catalogue import Catalogue, read_catalogue
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.stages.registry import load_stage
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.types import Example
from fv2es_prep.utils.files import make_directory, whole_file, write_json
from fv2es_prep.utils.tables import named_lines


@dataclass(frozen=True)
class Shown:
    """An example, its shard and row, and the names of its ratings."""

    example: Example
    shard: str
    row: int
    rating_names: tuple[str, ...]


def find_example(directory: Path, name: str) -> Shown:
    """Find the example of an utterance.

    Raises:
        UsageError: the utterance or the dataset does not exist.
        ShardError: a shard is missing or damaged.
    """
    directory = dataset_directory(directory)
    catalogue = read_catalogue(directory)
    place = int(catalogue.rows_of([name])[0])
    if place < 0:
        near = difflib.get_close_matches(name, catalogue.ids.to_pylist(), 3)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "see dropped.jsonl for what was left out"
        )
        raise UsageError(f"{directory} has no example {name!r}", hint)
    return example_at(directory, catalogue, place)


def example_at(directory: Path, catalogue: Catalogue, place: int) -> Shown:
    """Read the example in a row of the catalogue of a dataset.

    Raises:
        ShardError: its shard is missing or damaged.
    """
    index, row = catalogue.index, int(catalogue.row[place])
    shard = index.shards[catalogue.shard[place]].name
    with ShardReader(directory / shard, "first", index) as reader:
        return Shown(reader.read(row), shard, row, index.rating_names)


def example_values(shown: Shown) -> dict[str, Any]:
    """An example as JSON values; see `Stage.describe` for large values."""
    example, utterance = shown.example, shown.example.utterance
    return {
        **utterance.to_json(),
        "clamped": utterance.clamped,
        "text": utterance.transcript,
        "labels": list(utterance.labels),
        "ratings": {
            name: None if math.isnan(value) else value
            for name, value in zip(shown.rating_names, utterance.ratings, strict=True)
        },
        **{name: load_stage(name).describe(value) for name, value in example.items()},
        **({"missing": _missing(example)} if example.missing else {}),
        "shard": shown.shard,
        "row": shown.row,
    }


def _missing(example: Example) -> dict[str, str]:
    return {MODALITY_NAMES[letter]: code for letter, code in example.missing.items()}


def example_text(shown: Shown) -> str:
    """An example as text."""
    values = example_values(shown)
    seconds = values["end_s"] - values["start_s"]
    ratings = [
        f"{name} {'unknown' if value is None else value}"
        for name, value in values["ratings"].items()
    ]
    stages = [
        (name if number == 0 else "", line)
        for name, value in shown.example.items()
        for number, line in enumerate(load_stage(name).lines(value))
    ]
    said = [
        ("id", values["id"]),
        ("recording", values["recording_id"]),
        ("speaker", values["speaker"] or "(unknown)"),
        ("session", values["session"] or "(unknown)"),
        ("span", f"{values['start_s']:.3f} to {values['end_s']:.3f} s ({seconds:.3f} s)"),
        ("", "clamped to the media" if values["clamped"] else ""),
        ("text", values["text"]),
        ("labels", " + ".join(values["labels"])),
        ("ratings", ", ".join(ratings)),
        *stages,
        ("missing", ", ".join(f"{n} ({code})" for n, code in _missing(shown.example).items())),
        ("shard", f"{values['shard']}, row {values['row']}"),
    ]
    return named_lines(((name, value) for name, value in said if value), 10)


def draw_to_file(shown: Shown, path: Path) -> None:
    """Draw the faces, the spectrum and the words of an example as one PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    make_directory(path.parent)
    with whole_file(path) as temporary:
        draw_example(shown.example, temporary)


def draw_example(example: Example, target: Path | Any) -> None:
    """Draw an example, its stages and its words, as PNG to a path or a binary file."""
    # The object-oriented interface: no window, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [stage for stage in map(load_stage, example) if stage.drawn_height]
    heights = [stage.drawn_height for stage in drawn]
    height = 1.5 * sum(heights) or 1
    figure = Figure(figsize=(9, height), dpi=100)
    FigureCanvasAgg(figure)
    utterance = example.utterance
    # Fixed margins in inches, since a layout engine draws everything twice.
    grid = figure.add_gridspec(
        *(max(len(drawn), 1), 1),
        height_ratios=heights or [1],
        hspace=0.25,
        left=0.55 / 9,
        right=1 - 0.1 / 9,
        bottom=min(0.45 / height, 0.4),
        top=1 - min(0.5 / height, 0.5),
    )
    for row, stage in enumerate(drawn):
        stage.draw(figure.add_subplot(grid[row]), example[stage.name], utterance.start_s)
    figure.suptitle(
        f"{utterance.id}   {' + '.join(utterance.labels)}   "
        f"{utterance.start_s:.2f} to {utterance.end_s:.2f} s\n"
        + textwrap.shorten(f"“{utterance.transcript}”", 100),
        fontsize=10,
    )
    figure.savefig(target, format="png", pil_kwargs={"compress_level": 3})


def extract_example(shown: Shown, directory: Path) -> list[Path]:
    """Write faces as PNG, and the rest as JSON, into a directory; create it if needed.

    Returns:
        The paths written; file names start with `file_stem` of the id.

    Raises:
        OutputError: the directory cannot be written.
    """
    from matplotlib.image import imsave

    make_directory(directory)
    stem = file_stem(shown.example.utterance.id)
    paths = [directory / f"{stem}.json"]
    write_json(paths[0], example_values(shown))
    faces = shown.example.faces.rgb if "faces" in shown.example else ()
    for number, rgb in enumerate(faces):
        paths.append(directory / f"{stem}-{number:03d}.png")
        with whole_file(paths[-1]) as temporary:
            imsave(temporary, rgb, format="png")
    return paths


def file_stem(name: str) -> str:
    """An id as the start of a file name: word characters and dashes only."""
    return re.sub(r"[^\w-]", "_", name)
