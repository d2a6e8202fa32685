"""One record: all values of a checkout that must not change, as flat keys and values.

Owns the commands to run, their order and their options. Leaves reading the results to `digest`, and
calls of the checkout's Python API to `probes`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.guard.digest import Record, dataset_record, leaves, split_record, table_record

SECTIONS = ("shards", "splits", "fixtures", "model", "api")
PROBES = Path(__file__).with_name("probes.py")
_PATIENCE_S = 180
VIEW = "left:224:0"
SPANS = [{"start_s": 0.5, "end_s": 3, "id": "one"}, {"start_s": 3.5, "end_s": 6, "id": "two"}]
WORDS = "1\n00:00:00,500 --> 00:00:03,000\nI am so happy\n\n2\n00:00:03,500 --> 00:00:06,000\nno\n"

# Name of a dataset -> its corpus, and further options of `fv2es prep`.
DATASETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "demo": ("iemocap", ()),
    "demo-compact": ("iemocap", ("--compact",)),
    "demo-published": ("iemocap", ("--preset", "published")),
    "mosei": ("mosei", ()),
    "mosei-published": ("mosei", ("--preset", "published", "--picture", "published")),
}
SPLITS = (
    *(f"random --seed {seed}{rest}" for seed in range(3) for rest in ("", " --stratify")),
    *(f"random --folds 3 --seed {seed}" for seed in range(2)),
    "random --folds 3 --stratify",
    "session",
    "session --test-session 1",
    "session --folds all",
    "session --folds 3",
    "speaker",
    "speaker --folds all",
    "speaker --folds 3 --stratify",
    *(
        f"group --by {kind} --seed {seed}"
        for kind in ("recording_id", "speaker")
        for seed in (0, 1)
    ),
    "group --by recording_id --stratify",
    "group --by session --folds all",
    "group --by recording_id --folds 3 --stratify",
    "group --by recording_id --shares 0.5,0.25,0.25",
)


@dataclass(frozen=True)
class Tree:
    """A checkout, and the folder for its output.

    Attributes:
        root: root of the checkout.
        folder: working directory; all paths given to commands are relative to it.
    """

    root: Path
    folder: Path

    def call(self, probe: str, *arguments: object, allowed: int = 0) -> str:
        """Run a probe.

        Args:
            probe: name of the probe.
            arguments: its arguments.
            allowed: highest exit status that is not an error.

        Returns:
            The stdout of the probe.

        Raises:
            RuntimeError: the probe failed; the message ends with its stderr.
        """
        done = subprocess.run(
            self.command(probe, *arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if not 0 <= done.returncode <= allowed:
            said = "\n".join(done.stderr.splitlines()[-25:])
            called = " ".join(map(str, (probe, *arguments)))
            raise RuntimeError(f"{called} ended with status {done.returncode}:\n{said}")
        return done.stdout

    def fv2es(self, *arguments: object) -> str:
        """Run a command of fv2es and return its stdout."""
        return self.call("command", *arguments)

    def command(self, probe: str, *arguments: object) -> list[str]:
        """The command line of a probe."""
        return [sys.executable, "-P", str(PROBES), probe, *map(str, arguments)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process, with the checkout before all installed packages."""
        return {**os.environ, "PYTHONPATH": str(self.root), "HF_HUB_OFFLINE": "1"}


def record(
    root: Path,
    sections: Sequence[str] = SECTIONS,
    grid: Path | None = None,
    answering: Path | None = None,
    keep: Path | None = None,
) -> Record:
    """Record a checkout.

    Args:
        root: root of the checkout.
        sections: names from `SECTIONS`.
        grid: directory of GRID, with manifest.csv and the videos; None skips it.
        answering: directory of the run that eval, predict and the API use, e.g. that of an earlier
            revision; None uses the run that this checkout trains.
        keep: new directory for a copy of the run that this checkout trains; None keeps none.

    Returns:
        Key -> digest, number, text or null.

    Raises:
        RuntimeError: a command failed.
    """
    found: Record = {}
    # Always use the same name for the folder, because some file names are stored.
    with tempfile.TemporaryDirectory() as place:
        tree = Tree(root.resolve(), Path(place) / "guard")
        tree.folder.mkdir()
        if answering is not None:
            shutil.copytree(answering, tree.folder / "answering")
        for name, part in _PARTS.items():
            if name == "corpora" or name in sections:
                _say(f"{root.name}: {name}")
                values = part(tree, sections, grid)
                found |= {f"{name}/{key}": value for key, value in values.items()}
        if keep is not None and (tree.folder / "trained").exists():
            shutil.copytree(tree.folder / "trained", keep)
    return found


def _corpora(tree: Tree, sections: Sequence[str], grid: Path | None) -> Record:
    tree.call("demo", "demo")
    if "shards" not in sections:
        tree.fv2es(*_prep(tree, "demo", "iemocap", ()))
        return {}
    tree.call("mosei", tree.root, "mosei")
    if grid is not None:
        _write_grid_table(grid, tree.folder / "grid.csv")
    return {}


def _shards(tree: Tree, _: Sequence[str], grid: Path | None) -> Record:
    datasets = dict(DATASETS) | ({"grid": ("table", ())} if grid is not None else {})
    found: Record = {}
    for name, (corpus, options) in datasets.items():
        # The corpus in CMU-MOSEI's layout has damaged videos, so the exit status is 1.
        asked = _prep(tree, name, corpus, options)
        tree.call("command", *asked, allowed=int(corpus == "mosei"))
        found |= _under(name, dataset_record(tree.folder / "shards" / name))
    # The same directory again: faces and spectra come from the cache, tokens are new.
    tree.fv2es(*_prep(tree, "demo-compact", "iemocap", ("--compact", "--max-tokens", "6")))
    found |= _under("demo-cached", dataset_record(tree.folder / "shards/demo-compact"))
    return found


def _prep(tree: Tree, name: str, corpus: str, options: Sequence[str]) -> list[object]:
    raw = {"iemocap": "demo/corpus", "mosei": "mosei", "table": "grid.csv"}[corpus]
    fixed = ["--tokenizer", "demo/albert", "--executor", "local:2", "--shard-mb", "2", "--json"]
    (tree.folder / "shards").mkdir(exist_ok=True)
    return ["prep", corpus, raw, "--out", f"shards/{name}", *fixed, *options]


def _write_grid_table(grid: Path, path: Path) -> None:
    with (grid / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("id", "video", "text", "labels"))
        for row in rows:
            video = os.path.relpath(grid.resolve() / row["video"], path.parent)
            table.writerow((row["id"], video, row["transcript"], row["colour"]))


def _splits(tree: Tree, *_: object) -> Record:
    (tree.folder / "splits").mkdir()

    allowed = _empty_class(tree)

    def build(number: int) -> Record:
        recipe, out = SPLITS[number], f"splits/{number}"
        asked = ["shards/demo", "--out", out, "--recipe", *recipe.split(), *allowed]
        tree.call("command", "splits", "build", *asked, allowed=2)
        path = tree.folder / out
        if not path.exists():
            return {recipe: "refused"}
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        found: Record = {}
        for file in files:
            found |= _under(
                f"{recipe}/{file.stem}" if path.is_dir() else recipe, split_record(file)
            )
        return found

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(build, range(len(SPLITS))))
    return {key: value for part in parts for key, value in part.items()}


def _empty_class(tree: Tree) -> list[str]:
    """The option that lets a small split lack a class; older revisions have no such rule."""
    flag = "--allow-empty-class"
    return [flag] if flag in tree.fv2es("splits", "build", "--help") else []


def _fixtures(tree: Tree, *_: object) -> Record:
    found: Record = {}
    for version in ("1.0", "1.1"):
        # Copy it, because reading a dataset without a catalogue writes one beside its shards.
        copy = tree.folder / f"fixture-{version}"
        shutil.copytree(tree.root / f"tests/data/shard-{version}", copy)
        values = json.loads(tree.call("fixture", copy))
        found |= _under(version, values)
    return found


def _model(tree: Tree, *_: object) -> Record:
    _train(tree)
    measured = json.loads((tree.folder / "trained/metrics.json").read_text(encoding="utf-8"))
    asked = ["--shards", "shards/demo", "--split", "split.json", "--run", "answering", "--json"]
    asked += ["--device", "cpu", "--subset", "test", "--by", "speaker", "--predictions", "p.csv"]
    told = json.loads(tree.fv2es("eval", *asked))
    asked = ["demo/talk.avi", "--run", "answering", "--tokenizer", "demo/albert", "--asr", "none"]
    predicted = json.loads(
        tree.fv2es("predict", *asked, "--device", "cpu", "--view", VIEW, "--json")
    )
    return {
        **leaves(measured, "metrics"),
        **leaves(told, "eval"),
        **_under("eval.csv", table_record(tree.folder / "p.csv")),
        **leaves(predicted, "predict"),
    }


def _train(tree: Tree) -> None:
    """Train the tiny model on the demo corpus for two epochs, once."""
    if (tree.folder / "trained").exists():
        return
    asked = ["--recipe", "random", "--out", "split.json", *_empty_class(tree)]
    tree.fv2es("splits", "build", "shards/demo", *asked)
    asked = ["--shards", "shards/demo", "--split", "split.json", "--out", "trained", "--json"]
    asked += ["--model", "fv2es-tiny", "--text-encoder", "demo/albert", "--epochs", "2"]
    tree.call("train", "train", *asked, "--threads", "1", "--device", "cpu", "--batch-size", "8")
    if not (tree.folder / "answering").exists():
        (tree.folder / "answering").symlink_to("trained")


def _api(tree: Tree, *_: object) -> Record:
    _train(tree)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = [
        "serve",
        "--run",
        "answering",
        "--tokenizer",
        "demo/albert",
        "--asr",
        "none",
        "--port",
        port,
    ]
    log = tree.folder / "serve.log"
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(
            tree.command("command", *asked, "--threads", 1, "--device", "cpu"),
            cwd=tree.folder,
            env=tree.environment,
            stdout=out,
            stderr=out,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_S) as client:
            _until(lambda: _is_ready(client), server, log)
            return _answers(client, tree.folder / "demo/talk.avi", server, log)
    finally:
        server.terminate()
        server.wait()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/healthz").json()["status"] == "ok")
    except httpx.TransportError:
        return False


def _answers(client: httpx.Client, video: Path, server: Any, log: Path) -> Record:
    """The answers of the API for a video with words, and for the same video with spans."""
    about = client.get("/v1/about").json()
    found = leaves({key: about[key] for key in ("classes", "thresholds", "modalities")}, "about")
    fields = {"words": {"transcript": WORDS}, "spans": {"spans": json.dumps(SPANS)}}
    for name, given in fields.items():
        files = {"video": ("talk.avi", video.read_bytes())}
        answer = client.post("/v1/predict", files=files, data={**given, "view": VIEW})
        address = answer.raise_for_status().headers["location"]

        def ended(address: str = address) -> bool:
            return client.get(address).json()["state"] in ("done", "failed", "stopped")

        _until(ended, server, log)
        job = client.get(address).json()
        found |= leaves({key: item for key, item in job.items() if key != "id"}, name)
        found |= _under(f"{name}.csv", {"text": client.get(f"{address}/result.csv").text})
        found |= _under(f"{name}.srt", {"text": client.get(f"{address}/result.srt").text})
    return found


def _until(holds: Callable[[], bool], server: Any, log: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and server.poll() is None:
        if holds():
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not answer: {log.read_text(encoding='utf-8')[-2000:]}")


_PARTS: dict[str, Callable[[Tree, Sequence[str], Path | None], Record]] = {
    "corpora": _corpora,
    "shards": _shards,
    "splits": _splits,
    "fixtures": _fixtures,
    "model": _model,
    "api": _api,
}


def _under(name: str, values: Record) -> Record:
    return {f"{name}/{key}": value for key, value in values.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
