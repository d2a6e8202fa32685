"""Section c: bytes per utterance, compared with the published tree of pictures and sounds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.material import iemocap_shaped, inventory_of, text_model
from benchmarks.ours import printed_by
from benchmarks.preparation import dump
from benchmarks.results import Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "bytes"
_PLAIN, _COMPACT = "fv2es prep", "fv2es prep --compact"
_BOUNDS = {_PLAIN: 30.0, _COMPACT: 60.0}


def measure(bench: Bench) -> Section:
    corpus = iemocap_shaped(bench.out, bench.dialogue_s, bench.recordings)
    tree = bench.out / "published-size"
    old = dump(corpus, tree)
    shutil.rmtree(tree)
    sizes: dict[str, dict[str, float] | None] = {_PLAIN: prepared_size(bench, corpus)}
    compact = "--compact" in printed_by("prep", "iemocap", "--help")
    sizes[_COMPACT] = prepared_size(bench, corpus, "--compact") if compact else None
    per_utterance = {
        "published tree": {name: old[name] / old["utterances"] for name in ("bytes", "speech_s")}
    } | {name: size for name, size in sizes.items() if size is not None}
    rows = [
        (name, size["bytes"] / 1000, size["bytes"] / size["speech_s"] / 1000)
        for name, size in per_utterance.items()
    ]
    table = Table("IEMOCAP-shaped", ("what", "kB per utterance", "kB per second of it"), (*rows,))
    return Section((table,), _verdicts(per_utterance), _notes(old, compact), per_utterance)


def _verdicts(sizes: dict[str, dict[str, float]]) -> tuple[Verdict, ...]:
    # Utterances have different lengths, and the published way did not prepare all of them.
    dense = {name: size["bytes"] / size["speech_s"] for name, size in sizes.items()}
    old = dense["published tree"]
    return tuple(
        Verdict(f"(3) published tree / shards of {name}", old / dense[name], bound)
        if name in dense
        else Verdict(f"(3) published tree / shards of {name}", None, bound)
        for name, bound in _BOUNDS.items()
    )


def _notes(old: dict[str, Any], compact: bool) -> tuple[str, ...]:
    tree = (
        f"the published tree of {old['utterances']} utterances: {old['files']} files, "
        f"{old['bytes'] / 1e6:.1f} MB, {old['disk_bytes'] / 1e6:.1f} MB on disk"
    )
    return (tree,) if compact else (tree, "not available: `fv2es prep iemocap` has no --compact")


def prepared_size(bench: Bench, corpus: Path, *options: str) -> dict[str, float]:
    """Measure mean bytes and seconds per utterance in the shards that `fv2es prep` writes."""
    out = bench.out / "shards-size"
    shutil.rmtree(out, ignore_errors=True)
    arguments = (str(corpus), "--out", str(out), "--tokenizer", str(text_model(bench.out)))
    summary = json.loads(printed_by("prep", "iemocap", *arguments, "--json", *options))
    shutil.rmtree(out)
    utterances = inventory_of(corpus).utterances
    speech_s = sum(utterance.duration_s for utterance in utterances)
    count = summary["prepared"]
    return {"bytes": summary["size_bytes"] / count, "speech_s": speech_s / len(utterances)}


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    names = list(data)[::-1]
    values = [data[name]["bytes"] / data[name]["speech_s"] / 1000 for name in names]
    axes.bar_label(axes.barh(names, values), fmt="%.0f", padding=2)
    axes.set(xlabel="kB (1000 bytes) for a second of speech")
    axes.margins(x=0.12)
