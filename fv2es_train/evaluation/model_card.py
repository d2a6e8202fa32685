"""The model card of a run, RUN/README.md, in the form of model hubs. Contains no local path."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep import __version__
from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.corpora import licence_of
from fv2es_prep.shards.index import INDEX_NAME
from fv2es_prep.splits.audit import KINDS, Audit, audit_split
from fv2es_prep.types import Provenance
from fv2es_prep.utils.files import sha256_of, whole_file
from fv2es_train.evaluation.breakdown import metadata_of
from fv2es_train.evaluation.metrics import METRICS, SINGLE_METRICS
from fv2es_train.evaluation.rating_metrics import RATING_METRICS
from fv2es_train.evaluation.tables import raters_line, shares_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fv2es_prep.shards.catalogue import Catalogue
    from fv2es_prep.splits import Split
    from fv2es_prep.splits.shared import Shared
    from fv2es_train.models.checkpoint import Checkpoint

_OTHER_LICENCE = "The corpus has a licence of its own, which decides whether this model may be "
_PACKAGES = ("torch", "transformers", "timm", "numpy")
_NOT_FOR = "Not for decisions about people; see [what it is not for](#what-it-is-not-for)."
_LIMITS = """\
- It was measured only on the subsets named above, not on other speakers, languages, cameras and
  microphones, nor on emotion that is not acted.
- It predicts how raters would label a clip, not what a person feels. Do not use it for decisions
  about people: hiring, teaching, policing, health or credit.
- {what} on valid; they fit less well if the class distribution differs."""
_FITTED = {"thresholds": "Thresholds were fitted", "largest": "Probabilities were calibrated"}


def write_card(
    path: Path,
    checkpoint: Checkpoint,
    shards: Path,
    catalogue: Catalogue,
    split: Split,
    summary: dict[str, Any],
) -> None:
    """Write the card of a finished run; apart from times it depends only on the run.

    ``summary`` is the result of the training, with the measurements ``valid`` and ``test``.

    Raises:
        OutputError: the file cannot be written.
    """
    index = catalogue.index
    sources = index.provenance or tuple(
        Provenance(name, licence=licence_of(name))
        for name in sorted({part.corpus for part in index.parts})
    )
    corpora = list(dict.fromkeys(source.name for source in sources))
    audit = audit_split(catalogue, split)
    parts = [
        _front(corpora),
        f"# {summary['model']} ({summary['modalities']}) on {' + '.join(corpora)}",
        f"Emotion recognition from {_modalities(summary['modalities'])}: a probability for each "
        f"of {', '.join(checkpoint.model.config.label_classes)}. Trained with fv2es {__version__}.",
        " ".join(_source(source) for source in sources),
        _leakage(audit, split),
        _NOT_FOR,
        "## Metrics",
        _metrics(summary),
        "## Data",
        _data(corpora, shards, index.examples, catalogue, split),
        "## Split",
        _split(audit, split),
        "## Training",
        _training(checkpoint, summary),
        "## What it is not for",
        _LIMITS.format(what=_FITTED[checkpoint.decision.rule]),
        "## Licence of the data",
        " ".join(dict.fromkeys(map(_licence, sources))),
    ]
    with whole_file(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _front(corpora: Sequence[str]) -> str:
    """The YAML front matter for model hubs."""
    tags = ["emotion-recognition", "multimodal", *corpora]
    metrics = ["accuracy", "f1", "roc_auc"]
    listed = [("tags", tags), ("metrics", metrics)]
    lines = [line for name, values in listed for line in (f"{name}:", *(f"- {v}" for v in values))]
    return "\n".join(["---", "library_name: fv2es", "license: other", *lines, "---"])


def _metrics(summary: dict[str, Any]) -> str:
    measured = [(name, summary[name]) for name in ("test", "valid") if summary[name]]
    subsets = [f"{name} ({found['n']} utterances)" for name, found in measured]
    head = ["metric, mean over classes", *subsets]
    rows = [[m, *(_value(found, m) for _, found in measured)] for m in METRICS]
    singles = [found["single_label"] for _, found in measured]
    for metric in SINGLE_METRICS if any(singles) else ():
        values = (_value({**s, "average": s}, metric) if s else "-" for s in singles)
        rows.append([f"single_label.{metric}", *values])
    drawn = measured[0][1]["bootstrap"]
    note = (
        f"Brackets show {100 * drawn['level']:g} % intervals from {drawn['resamples']} resamples "
        "of utterances; utterances of one recording resemble each other, so the true intervals are "
        "wider. Thresholds and the epoch were chosen on valid, so metrics on valid are optimistic."
    )
    if ratings := measured[0][1].get("ratings"):
        head = [f"rating, on {measured[0][0]}", "utterances", *RATING_METRICS]
        lines = [
            [name, str(v["n"]), *(_number(v[m]) for m in RATING_METRICS)]
            for name, v in ratings.items()
        ]
        note += f"\n\n{_table(head, lines)}"
    if raters := measured[0][1].get("raters"):
        line = raters_line(raters)
        note += f"\n\n{line[0].upper()}{line[1:]}."
    if shares := measured[0][1].get("rater_shares"):
        line = shares_line(shares)
        note += f"\n\n{line[0].upper()}{line[1:]}."
    pictures = "![loss and F1 over the epochs](curves.png)"
    if summary["test"]:
        pictures += "\n\n![confusion matrix on test](test.png)"
    return "\n\n".join([_table(head, rows), note, _classes(measured[0]), pictures])


def _classes(measured: tuple[str, dict[str, Any]]) -> str:
    name, found = measured
    head = [f"class, on {name}", "utterances", "threshold", *METRICS]
    rows = [
        [c, str(v["support"]), f"{found['thresholds'][c]:.2f}", *(_number(v[m]) for m in METRICS)]
        for c, v in found["per_class"].items()
    ]
    return _table(head, rows)


def _data(
    corpora: Sequence[str], shards: Path, examples: int, catalogue: Catalogue, split: Split
) -> str:
    rows = []
    for subset in ("train", "valid", "test"):
        metadata = metadata_of(catalogue, split.ids(subset))
        faceless, wordless = (sum(column) for column in (metadata.faceless, metadata.wordless))
        counts = (len(metadata.ids), f"{metadata.hours:.2f}", len(set(metadata.recordings)))
        rows.append([subset, *map(str, (*counts, _people(metadata.speakers), faceless, wordless))])
    head = [
        "subset",
        "utterances",
        "hours",
        "recordings",
        "speakers",
        "no face found",
        "no transcript",
    ]
    lines = [
        f"- corpus: {', '.join(corpora)}; {examples} utterances in the shards",
        f"- SHA-256 of the shards' {INDEX_NAME}: `{sha256_of(shards / INDEX_NAME)}`",
    ]
    return "\n".join(lines) + "\n\n" + _table(head, rows)


def _source(source: Provenance) -> str:
    """The data that the run was trained on, in one sentence."""
    corpus = f"Trained on the corpus {source.name}" + (source.version and f" {source.version}")
    if source.generated:
        return f"{corpus}: generated data that show no real person."
    return f"{corpus}, recordings of people."


def _leakage(audit: Audit, split: Split) -> str:
    """The overlap of the measured subset with train, in one sentence."""
    of = "test" if split.ids("test") else "valid"
    pair = next(pair for pair in audit.pairs if (pair.of, pair.within) == (of, "train"))
    found = {shared.kind: shared for shared in pair.shared}
    parts = [
        f"{_shared(found[kind])} share a {kind} with train"
        if found[kind].of > found[kind].unknown
        else f"it is unknown whether they share a {kind} with train"
        for kind in ("recording", "speaker", "transcript")
    ]
    return f"Of the {of} utterances (split {split.recipe!r}) {'; '.join(parts)}."


def _split(audit: Audit, split: Split) -> str:
    chosen = ", ".join(f"{name} {value}" for name, value in split.parameters.items())
    lines = [
        f"- recipe: {split.recipe}" + (f" ({chosen})" if chosen else ""),
        f"- digest: `{split.digest()}`",
    ]
    pairs = [pair for pair in audit.pairs if split.ids(pair.of)]
    columns = [[_shared(shared) for shared in pair.shared] for pair in pairs]
    rows = [[meaning, *counts] for meaning, *counts in zip(KINDS.values(), *columns, strict=True)]
    head = ["utterances that share", *(f"{pair.of} with {pair.within}" for pair in pairs)]
    return "\n".join(lines) + "\n\n" + _table(head, rows)


def _training(checkpoint: Checkpoint, summary: dict[str, Any]) -> str:
    early = ", stopped early" if summary["stopped_early"] else ""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        f"- parameters: {summary['parameters']:,}",
        f"- epochs: {summary['epochs']}{early}; kept: {summary['best_epoch']}, the best "
        "f1_binary on valid",
        *_soft(summary),
        f"- time: {summary['seconds']:.0f} s on {summary['device']}",
        f"- versions: fv2es {__version__}, Python {platform.python_version()}, {versions}",
    ]
    model = {k: v for k, v in checkpoint.model.config.to_json().items() if k != "text"}
    stages = checkpoint.settings.to_json()
    settings = {f"{stage}.{k}": v for stage, values in stages.items() for k, v in values.items()}
    blocks = [
        _settings("How it was trained", asdict(checkpoint.train)),
        _settings("The network", model),
        _settings("How the shards were prepared", settings),
    ]
    return "\n\n".join(["\n".join(lines), *blocks])


def _soft(summary: dict[str, Any]) -> list[str]:
    count = summary["without_votes"]
    if count is None:
        return []
    return [f"- targets: rater shares; the label for {count} utterances without votes"]


def _settings(title: str, values: dict[str, Any]) -> str:
    rows = [[name, f"`{value}`"] for name, value in values.items()]
    return (
        f"<details><summary>{title}</summary>\n\n{_table(['setting', 'value'], rows)}\n\n</details>"
    )


def _licence(source: Provenance) -> str:
    return source.licence or f"{source.name}: {_OTHER_LICENCE}passed on."


def _modalities(letters: str) -> str:
    return ", ".join(MODALITY_NAMES[letter] for letter in letters)


def _people(speakers: Iterable[str]) -> str:
    names = set(speakers)
    return "not named" if "" in names else str(len(names))


def _shared(shared: Shared) -> str:
    known = shared.of - shared.unknown
    return f"{shared.count} of {known}" if known else "not known"


def _value(found: dict[str, Any], metric: str) -> str:
    edges = found["interval"] and found["interval"][metric]
    shown = _number(found["average"][metric])
    return f"{shown} [{edges[0]:.3f}, {edges[1]:.3f}]" if edges else shown


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    # A bar would end the cell.
    every = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in every)
