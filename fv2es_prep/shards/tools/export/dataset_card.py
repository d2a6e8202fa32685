"""The card of a dataset, README.md, in the form of data hubs; contains no local path."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fv2es_prep import __version__
from fv2es_prep.errors import DropReason
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import INDEX_NAME, Index
from fv2es_prep.shards.tools.export.source import Export, ExportedFile, ExportFormat
from fv2es_prep.types import Provenance
from fv2es_prep.utils.configuration import flatten
from fv2es_prep.utils.files import sha256_of
from fv2es_prep.utils.licences import licence_url

CARD_NAME = "README.md"
_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
_PERSONAL = (
    "The recordings show people. Faces, voices and words are personal data: a face identifies a "
    "person even where the id does not. Follow the licence, the consent that the people gave, and "
    "the law."
)
_GENERATED = "A program made the recordings; they show no real person."
_LIMITS = """\
- Labels are raters' names for an expression, not what a person felt.
- Do not use models of these data for decisions about people: hiring, teaching, policing, health or
  credit.
- Speakers and recordings that train and test share make metrics too high; `fv2es splits audit`
  counts them."""


def export_card(source: Export, form: ExportFormat, files: list[ExportedFile]) -> str:
    """The card of an export."""
    fields = [
        [f"`{f.name}`", f"{f.kind} ({f.shape})" if f.shape else f.kind, f.meaning]
        for f in form.fields(source)
    ]
    table = _table(("field", "type", "meaning"), fields)
    return card_text(source, form.title, form.load, form.front(files), table)


def sources_of(index: Index) -> tuple[Provenance, ...]:
    """Provenance of the parts of a dataset; only their names if the index has none."""
    return index.provenance or tuple(Provenance(part.corpus) for part in index.parts)


def title_of(index: Index) -> str:
    """Name and version of each corpus."""
    names = (f"{source.name} {source.version}".strip() for source in sources_of(index))
    return " + ".join(dict.fromkeys(names))


def card_text(
    source: Export, form: str, load: str, front: Mapping[str, object] = {}, fields: str = ""
) -> str:
    """Write a card: ``form`` names the kind of files, ``load`` is Python code that reads them."""
    index, title = source.index, title_of(source.index)
    cited = list(dict.fromkeys(f"- {o.citation}" for o in sources_of(index) if o.citation))
    parts = [
        _front(index, len(source), front),
        f"# {title}, prepared with fv2es",
        f"Utterances of {title} with emotion labels, as {form}.",
        people_text(index),
        "## Licence",
        licence_text(index),
        *(("## Citation", "\n".join(cited)) if cited else ()),
        "## Content",
        _content(source),
        *(("## Fields", fields) if fields else ()),
        "## Load",
        f"`DIR` is the directory of this file.\n\n```python\n{load}\n```",
        *(("## Split", source.subsets.described) if source.subsets.described else ()),
        "## What was left out",
        _left_out(source.directory),
        "## How it was made",
        _made(source.directory, index),
        "## Limits",
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _front(index: Index, examples: int, front: Mapping[str, object]) -> str:
    """The YAML header; a line of JSON is YAML too."""
    known = {source.spdx for source in sources_of(index)}
    licence = known.pop().lower() if len(known) == 1 else ""
    size = next((name for most, name in _SIZES.items() if examples < most), "1M<n<10M")
    values = {
        "license": licence or "other",
        "pretty_name": title_of(index),
        "size_categories": [size],
        "tags": ["emotion-recognition", "multimodal", *sorted({p.corpus for p in index.parts})],
        **front,
    }
    lines = (f"{name}: {json.dumps(v, ensure_ascii=False)}" for name, v in values.items())
    return "\n".join(("---", *lines, "---"))


def people_text(index: Index) -> str:
    """Text on whether the recordings show people, and what that requires."""
    return _GENERATED if all(one.generated for one in sources_of(index)) else _PERSONAL


def licence_text(index: Index) -> str:
    """Text on the licence of each corpus, and whether the dataset may be passed on."""
    told = []
    for source in sources_of(index):
        link = f"[{source.spdx}]({licence_url(source.spdx)})" if source.spdx else source.licence
        told.append(f"- {source.name}: {link or 'unknown; ask the owner of the corpus'}")
    may = (
        "The licence permits passing these data on, under its conditions."
        if index.may_be_handed_on
        else "Do not pass these data on: the licence does not state that this is permitted."
    )
    return "\n".join(dict.fromkeys(told)) + f"\n\n{may}"


def _content(source: Export) -> str:
    catalogue = source.catalogue
    names = [name or "all" for name in source.rows]
    rows = [np.array(places, int) for places in source.rows.values()]
    kinds = {
        "recordings": catalogue.recordings,
        "speakers": catalogue.speakers,
        "sessions": catalogue.sessions,
    }
    table: list[Sequence[str]] = [
        ["utterances", *(str(len(places)) for places in rows)],
        ["hours", *(f"{catalogue.seconds[places].sum() / 3600:.2f}" for places in rows)],
    ]
    for kind, column in kinds.items():
        counts = [np.unique(column.codes[places][column.known[places]]).size for places in rows]
        table.append([kind, *(str(count) if count else "not named" for count in counts)])
    for place, name in enumerate(catalogue.label_classes):
        sums = (catalogue.label[places, place].sum(dtype=int) for places in rows)
        table.append([f"class {name}", *map(str, sums)])
    return _table(("", *names), table)


def _left_out(directory: Path) -> str:
    reasons = Counter(entry["reason"] for entry in read_dropped(directory))
    if not reasons:
        return "Nothing of the corpus was left out."
    known = {reason.value: reason.meaning for reason in DropReason}
    rows = [[known.get(code, code), str(count)] for code, count in reasons.most_common()]
    return _table(("reason", "entries"), rows)


def _made(directory: Path, index: Index) -> str:
    settings = [[f"`{k}`", f"`{v}`"] for k, v in flatten(index.settings.to_json()).items()]
    return (
        f"- fv2es {__version__}, shard format {index.format_version}\n"
        f"- stages: {', '.join(index.settings.stages)}\n"
        f"- SHA-256 of the shards' {INDEX_NAME}: `{sha256_of(directory / INDEX_NAME)}`\n\n"
        f"<details><summary>Settings</summary>\n\n{_table(('setting', 'value'), settings)}\n\n"
        "</details>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    # An unescaped bar would end the cell.
    every = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in every)
