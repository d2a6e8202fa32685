"""The trainings of a bench: in this process or several, each finished one skipped.

A process trains many small models one after the other, so that it imports torch once.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.splits import Split, read_split
from fv2es_prep.splits.audit import audit_split
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.files import make_directory
from fv2es_train.bench.bench_table import measure_rows, write_tables
from fv2es_train.bench.protocol import BenchConfig, rows_of
from fv2es_train.config import TrainConfig
from fv2es_train.training.folds import is_finished, manifests_of, train_or_continue

Say = Callable[[str], None]


def bench(config: BenchConfig, say: Say = lambda _: None) -> dict[str, Any]:
    """Train and measure all that a protocol names, and write OUT/table.json, .csv, .md and .tex.

    The same call continues after an interruption: finished runs are kept, one that was begun
    continues. If a training fails, the others still run.

    Args:
        config: the protocol.
        say: receives a line about each training.

    Returns:
        JSON-ready: ``split``, ``rows`` (see `bench_table.measure_rows`), ``metrics``,
        ``bootstrap``, ``failed`` (run -> error), ``seconds``.

    Raises:
        UsageError: the protocol is wrong, another process works in ``out``, or it holds other runs.
        SplitError: a manifest is damaged or has no test subset, or two share test utterances.
        StoppedError: SIGTERM was received.
        OutputError: the directory cannot be written.
    """
    began = time.perf_counter()
    manifests = tuple(manifests_of(config.split)) if config.split.is_dir() else (config.split,)
    splits = [read_split(manifest) for manifest in manifests]
    _check_tests(splits, config.split)
    rows = rows_of(config, manifests)
    digests = {manifest: split.digest() for manifest, split in zip(manifests, splits, strict=True)}
    runs = [run for row in rows for seed in row.seeds for run in seed]
    left = [run for run in runs if not is_finished(run, digests[run.split])]
    make_directory(config.out)
    failed: dict[str, str] = {}
    with locked(config.out):
        say(f"{len(runs)} runs, {len(runs) - len(left)} of them finished before")
        for number, (run, error) in enumerate(_trained(left, config.jobs), 1):
            name = run.out.relative_to(config.out).as_posix()
            say(f"{number}/{len(left)} {name}" + (f" failed: {error}" if error else ""))
            if error:
                failed[name] = error
        catalogue = read_catalogue(config.shards)
        audits = [audit_split(catalogue, split) for split in splits]
        result = {**measure_rows(rows, config, audits), "failed": failed}
        result["seconds"] = round(time.perf_counter() - began, 3)
        write_tables(config.out, result)
    return result


def _check_tests(splits: Sequence[Split], place: Path) -> None:
    """Pooled test subsets hold each utterance once."""
    tests = [name for split in splits for name in split.test]
    if not all(split.test for split in splits) or len(set(tests)) < len(tests):
        raise SplitError(
            f"{place} has {len(tests)} test utterances, {len(set(tests))} of them different, in "
            f"{len(splits)} split(s); expected some in each, and each in one",
            "make folds: fv2es splits build SHARDS --recipe session --folds 5 --out FOLDS",
        )


def _trained(runs: Sequence[TrainConfig], jobs: int) -> Iterator[tuple[TrainConfig, str]]:
    """Each run with its error, or an empty string, as it ends."""
    if jobs == 1 or len(runs) < 2:
        for run in runs:
            yield run, train_or_continue(run)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(runs)), context, _end_with_parent) as pool:
        try:
            futures = {pool.submit(train_or_continue, run): run for run in runs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
