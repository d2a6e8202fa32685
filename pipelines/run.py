"""A complete preparation: removes leftovers, turns tasks into receipts, writes the index last."""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fv2es_prep import __version__
from fv2es_prep.errors import ExecutorError, OutputError, ShardError, UsageError
from fv2es_prep.shards.catalogue import write_catalogue
from fv2es_prep.shards.dropped import write_dropped
from fv2es_prep.shards.index import INDEX_NAME, RUN_NAME, make_index, read_index, write_index
from fv2es_prep.shards.tools.report import load_ahead, write_report
from fv2es_prep.stages.tokens import TOKENIZER_DIR, copy_tokenizer
from fv2es_prep.types import Dropped, ShardReceipt
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.files import (
    TEMPORARY_SUFFIX,
    cannot_write,
    make_directory,
    read_regular,
    shown_path,
    write_json,
)
from fv2es_prep.utils.phases import Phase, silent
from pipelines.cache import ASIDE_NAME, remove_damaged, shard_of, shards_of
from pipelines.code import difference, made_by, note_code, plain
from pipelines.config import NO_CLUSTER, ClusterConfig
from pipelines.executors.base import executor_of
from pipelines.executors.plan_directory import STOPPING, Contents, PlanDirectory, write_plan
from pipelines.plan import Plan


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        shards: number of shards of the dataset.
        prepared: number of examples in the dataset.
        dropped: reason code -> count, for everything that was left out.
        dropped_in_preparation: number of these that were in the inventory.
        without_text: number of utterances with an empty transcript.
        missing: modality -> code of the reason -> number of examples without it.
        counts: work done by this run, e.g. ``frames_sampled``.
        recordings_failed: recordings that could not be read to their end.
        seconds: wall time of this run.
        failed_shards: name of a shard that could not be built -> the error.
        other_code: difference from this run's code -> number of kept shards that the other code
            made, at least in part.
    """

    out: Path
    shards: int
    shards_built: int
    prepared: int
    dropped: dict[str, int]
    dropped_in_preparation: int
    without_text: int
    missing: dict[str, dict[str, int]]
    counts: dict[str, int]
    recordings_failed: tuple[str, ...]
    size_bytes: int
    seconds: float
    failed_shards: dict[str, str] = field(default_factory=dict)
    reconciliation: dict[str, int] = field(default_factory=dict)
    other_code: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every shard was built and every recording could be read."""
        return not self.failed_shards and not self.recordings_failed

    @property
    def dropped_share(self) -> float:
        """Share of the inventory's utterances that could not be prepared."""
        return self.dropped_in_preparation / max(self.prepared + self.dropped_in_preparation, 1)

    def to_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {**asdict(self), "out": shown_path(self.out), "complete": self.complete}


def run(
    plan: Plan,
    out: Path,
    executor: str,
    report: Callable[[int], None],
    cluster: ClusterConfig = NO_CLUSTER,
    phase: Phase = silent,
) -> Summary:
    """Build the missing shards of a plan, then write the index.

    If a shard fails, no index is written, and the same command continues. ``report`` is called with
    the number of utterances done since the last call; ``phase`` shows other work.

    Raises:
        UsageError: the directory holds another corpus, another run uses it, or the executor is
            unknown.
        MediaError: a recording cannot be decoded, and the plan has ``fail_fast``.
        OutputError: the directory cannot be written.
        ExecutorError: the cluster cannot be reached or runs another version.
    """
    began = time.monotonic()
    chosen = executor_of(executor, cluster)
    make_directory(out)
    with locked(out) as lock:
        with phase("write the plan"):
            directory = begin(plan, out)
        try:
            # Another run took over the directory and removed the plan.
            with contextlib.suppress(FileNotFoundError):
                if plan.todo:
                    chosen.run(directory, _loading_ahead(report))
            if not lock.held:
                raise OutputError(
                    f"another run has taken over {out}",
                    "wait until it ends, then run the same command again",
                )
            summary = finish(directory, executor, began, phase)
        finally:
            directory.remove()
    return summary


def _loading_ahead(report: Callable[[int], None]) -> Callable[[int], None]:
    """The same callback; its first call starts to load what the report of the dataset needs.

    Not before: the imports would delay the first utterance.
    """
    loading = threading.Thread(target=load_ahead)

    def reporting(done: int) -> None:
        if loading.ident is None:
            loading.start()
        report(done)

    return reporting


def begin(plan: Plan, out: Path) -> PlanDirectory:
    """Write the plan into a dataset directory, which the caller has locked, and make room.

    Raises:
        UsageError: the directory holds another corpus.
        OutputError: the directory cannot be written.
    """
    _make_room(out, plan)
    directory = write_plan(plan, out)
    _note_code(out, plan)
    return directory


def finish(directory: PlanDirectory, executor: str, began: float, phase: Phase = silent) -> Summary:
    """Write the index and its companions after every task of a plan has a result.

    Any process that has locked the dataset directory may do it. ``began`` is `time.monotonic` at
    the start of the run.

    Raises:
        ExecutorError: tasks have no result; the message names them.
        MediaError: a task stopped the run.
        OutputError: a task could not write, or this function cannot.
    """
    contents, out = directory.contents, directory.out
    results = {f"{name}.h5": directory.result(name) for name in sorted(directory.finished())}
    failed = {name: found for name, found in results.items() if isinstance(found, Exception)}
    for error in failed.values():
        if isinstance(error, STOPPING):
            raise error
    if unbuilt := [name for name in contents.tasks if f"{name}.h5" not in results]:
        raise ExecutorError(
            f"{len(unbuilt)} shard(s) were not built: {', '.join(unbuilt[:9])}",
            "run the same command again; it builds only what is missing",
        )
    made = [found for found in results.values() if isinstance(found, ShardReceipt)]
    known = {receipt.name: receipt for receipt in (*contents.finished, *made)}
    # A shard that a worker of an earlier run has built has no host, see `build.built_meanwhile`.
    built = [receipt for receipt in made if receipt.host]
    receipts = [known[name] for name in contents.shards if name in known]
    tried = [entry for receipt in receipts for entry in receipt.dropped]
    dropped = [*contents.inventory.dropped, *tried]
    counts = Counter[str]()
    for receipt in built:
        counts.update(receipt.counts)
    prepared = sum(receipt.examples for receipt in receipts)
    missing: dict[str, dict[str, int]] = {}
    if not failed:
        found, expected = prepared + len(tried), contents.utterances
        assert found == expected, f"{found} utterances are prepared or dropped, not {expected}"
        missing = _write_dataset(contents, out, receipts, dropped, phase)
    still = {*contents.shards, *(path.name for path in (out / ASIDE_NAME).glob("*.h5"))}
    code = [(each, names & still) for each, names in made_by(out)]
    summary = Summary(
        out=out,
        shards=len(contents.shards),
        shards_built=len(built),
        prepared=prepared,
        dropped=dict(Counter(entry.reason.value for entry in dropped).most_common()),
        dropped_in_preparation=len(tried),
        without_text=contents.without_text,
        missing=missing,
        counts=dict(counts),
        recordings_failed=tuple(
            sorted({entry.recording_id for entry in tried if entry.reason.fails_recording})
        ),
        size_bytes=sum(receipt.size_bytes for receipt in receipts),
        seconds=round(time.monotonic() - began, 2),
        failed_shards={name: str(error) for name, error in failed.items()},
        reconciliation=contents.inventory.reconciliation,
        other_code={
            difference(each, contents.code): len(names & known.keys())
            for each, names in code
            if names & known.keys() and each != contents.code
        },
    )
    # run.json is the only file with times, hosts and paths.
    about_run = {
        "fv2es": __version__,
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "executor": executor,
        "made_by": plain(code),
        "tokenizer": contents.tokenizer,
        "encoders": contents.encoders,
        "summary": summary.to_json(),
        "shards_built": {r.name: {"seconds": r.seconds, "host": r.host, **r.counts} for r in built},
    }
    write_json(out / RUN_NAME, about_run)
    return summary


def note_added(
    out: Path, stages: Sequence[str], encoders: Mapping[str, str], executor: str, seconds: float
) -> None:
    """Record in run.json which stages were added; do nothing if the file does not exist."""
    try:
        about = json.loads(read_regular(out / RUN_NAME))
        about["encoders"] = {**about.get("encoders", {}), **encoders}
        # Nothing is decoded: the corpus is not even named.
        done = {"stages": list(stages), "videos_decoded": 0, "sounds_decoded": 0}
        done |= {"executor": executor, "seconds": round(seconds, 2)}
        about["added"] = [*about.get("added", []), done]
    except (OSError, ValueError, AttributeError, TypeError):
        return
    write_json(out / RUN_NAME, about)


def _note_code(out: Path, plan: Plan) -> None:
    building = {t.path.name: {shard_of(k.path.name) for k in t.kept.values()} for t in plan.todo}
    if building:
        aside = {old.path.name: old.aside.name for old in plan.cache.shards.values()}
        note_code(out, building, aside)


def _make_room(out: Path, plan: Plan) -> None:
    """Remove leftovers and damaged shards, refuse another corpus, move old shards aside."""
    for leftover in out.glob(f".*{TEMPORARY_SUFFIX}"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    ours = plan.inventory.corpus
    # A damaged index is written again.
    with contextlib.suppress(ShardError):
        if (out / INDEX_NAME).is_file() and (found := read_index(out).corpus) != ours:
            sentence = f"{out} holds shards of {found}, not of {ours}"
            raise UsageError(sentence, "choose another --out")
    if not plan.todo:
        return
    # Workers keep a shard that they find in place, see `build.built_meanwhile`.
    known = plan.cache.shards
    remove_damaged(out, (task.path for task in plan.todo if task.path not in known))
    (out / INDEX_NAME).unlink(missing_ok=True)
    for old in plan.cache.shards.values():
        if old.path.name not in plan.finished and old.path != old.aside:
            try:
                old.aside.parent.mkdir(exist_ok=True)
                old.path.replace(old.aside)
            except OSError as error:
                raise cannot_write(old.aside, error) from error


def _write_dataset(
    contents: Contents,
    out: Path,
    receipts: list[ShardReceipt],
    dropped: list[Dropped],
    phase: Phase,
) -> dict[str, dict[str, int]]:
    """Write the index and its companions; return the missing modalities, see `Index`."""
    inventory = contents.inventory
    # Shards of an earlier, longer cut of the same corpus.
    for path in shards_of(out, inventory.corpus):
        if path.name not in contents.shards:
            path.unlink()
    write_dropped(out, map(asdict, dropped))
    index = make_index(
        inventory.corpus,
        inventory.label_classes,
        inventory.rating_names,
        contents.settings,
        receipts,
        inventory.reconciliation,
        inventory.provenance,
    )
    if contents.settings.text.is_known:
        copy_tokenizer(contents.tokenizer, out / TOKENIZER_DIR)
    rows = {receipt.name: receipt.rows for receipt in receipts}
    with phase("write the catalogue"):
        index = write_catalogue(out, index, rows)
    write_index(out, index)
    shutil.rmtree(out / ASIDE_NAME, ignore_errors=True)
    with phase("write the report"):
        write_report(out, dropped)
    return index.missing
