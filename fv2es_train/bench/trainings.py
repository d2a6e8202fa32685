"""The trainings of a bench: in this process or several, on this host or others.

A process claims a training before it starts, so any number of processes may share the directory. A
process trains many small models one after the other, so that it imports torch once.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import Catalogue, read_catalogue
from fv2es_prep.splits import Split, read_split
from fv2es_prep.splits.audit import audit_split
from fv2es_prep.utils.claims import Claim, is_live, records, remove
from fv2es_prep.utils.files import make_directory, write_json
from fv2es_train.bench.bench_config import BenchConfig, TableRow, rows_of
from fv2es_train.bench.bench_forms import write_tables
from fv2es_train.bench.bench_splits import described, manifests_for
from fv2es_train.bench.bench_table import measure_rows
from fv2es_train.config import TrainConfig
from fv2es_train.evaluation.agreement import agreement_of
from fv2es_train.training.folds import is_finished, train_or_continue

Say = Callable[[str], None]
CLAIMS, AUDITS = "claims", "split-audit.json"
POLL_S = 2.0


def bench(config: BenchConfig, say: Say = lambda _: None) -> dict[str, Any]:
    """Train and measure all models of a bench, and write OUT/table.json, .csv, .md and .tex.

    The same call continues after an interruption: it keeps finished runs and continues started
    ones. Concurrent calls with the same ``out``, in other processes or on other hosts, share the
    runs; each returns when all are finished. If a training fails, the others still run.

    Args:
        config: the configuration of the bench.
        say: receives a line about each training.

    Returns:
        JSON-ready: ``protocol`` (see `bench_splits.described`, or None), ``split``, ``rows`` (see
        `bench_table.measure_rows`), ``metrics``, ``bootstrap``, ``failed`` (run -> error),
        ``raters`` of all test utterances (see `agreement.agreement`), ``seconds``.

    Raises:
        UsageError: the configuration is invalid, or ``out`` contains other runs.
        SplitError: a manifest is damaged or has no test subset, or two share test utterances.
        StoppedError: a signal stopped a training.
        OutputError: the directory cannot be written.
    """
    began = time.perf_counter()
    found = planned(config)
    failed = train_left(found, say)
    result = measured(found, failed)
    result["seconds"] = round(time.perf_counter() - began, 3)
    write_tables(config.out, result)
    return result


@dataclass(frozen=True)
class Bench:
    """The plan of a bench: its splits and trainings.

    Attributes:
        config: its configuration.
        catalogue: catalogue of the dataset.
        splits: one for each fold.
        rows: rows of its table.
        trainings: all runs of the rows.
    """

    config: BenchConfig
    catalogue: Catalogue
    splits: tuple[Split, ...]
    rows: tuple[TableRow, ...]
    trainings: tuple[Training, ...]


def planned(config: BenchConfig) -> Bench:
    """Read dataset and splits of a bench, and plan its trainings; raises what `bench` raises."""
    catalogue = read_catalogue(config.shards)
    manifests = manifests_for(config, catalogue)
    splits = [read_split(manifest) for manifest in manifests]
    _check_tests(splits, manifests[0].parent if manifests[1:] else manifests[0])
    rows = rows_of(config, manifests)
    digests = {manifest: split.digest() for manifest, split in zip(manifests, splits, strict=True)}
    runs = (run for row in rows for seed in row.seeds for run in seed)
    every = (Training(run, digests[run.split], config.out) for run in runs)
    return Bench(config, catalogue, tuple(splits), tuple(rows), tuple(every))


def train_left(planned: Bench, say: Say = lambda _: None) -> dict[str, str]:
    """Train all that is not finished; return name -> error of each training that failed."""
    every, config = planned.trainings, planned.config
    if config.protocol:
        described(config, planned.catalogue, planned.splits)
    left = [each for each in every if not each.is_finished()]
    make_directory(config.out / CLAIMS)
    say(f"{len(every)} runs, {len(every) - len(left)} already finished")
    failed: dict[str, str] = {}
    for number, (ended, error) in enumerate(_trained(left, config.jobs, say), 1):
        say(f"{number}/{len(left)} {ended.name}" + (f" failed: {error}" if error else ""))
        if error:
            failed[ended.name] = error
    return failed


def measured(planned: Bench, failed: Mapping[str, str]) -> dict[str, Any]:
    """Measure the finished runs, and write OUT/split-audit.json; returns the result of `bench`."""
    config, catalogue, splits = planned.config, planned.catalogue, planned.splits
    protocol = described(config, catalogue, splits) if config.protocol else None
    audits = [audit_split(catalogue, split) for split in splits]
    result = {"protocol": protocol, **measure_rows(planned.rows, config, audits)}
    tested = [name for split in splits for name in split.test]
    write_json(config.out / AUDITS, [audit.to_json() for audit in audits])
    return {**result, "failed": dict(failed), "raters": agreement_of(catalogue, tested)}


def _check_tests(splits: Sequence[Split], place: Path) -> None:
    """Check that the pooled test subsets contain each utterance once."""
    tests = [name for split in splits for name in split.test]
    if not all(split.test for split in splits) or len(set(tests)) < len(tests):
        raise SplitError(
            f"the {len(splits)} split(s) of {place} have {len(tests)} test utterances, "
            f"{len(set(tests))} without duplicates; expected at least one each, and no duplicates",
            "make folds: fv2es splits build SHARDS --recipe session --folds 5 --out FOLDS",
        )


@dataclass(frozen=True)
class Training:
    """A run of the bench, with the digest of its split."""

    run: TrainConfig
    digest: str
    out: Path

    @property
    def name(self) -> str:
        """Its directory under OUT."""
        return self.run.out.relative_to(self.out).as_posix()

    @property
    def _claim(self) -> tuple[Path, str]:
        return self.out / CLAIMS, self.name.replace("/", "-")

    def is_finished(self) -> bool:
        """Whether the run is complete; UsageError if it was trained with another configuration."""
        return is_finished(self.run, self.digest)

    def is_claimed(self) -> bool:
        """Whether a live process trains it."""
        return any(map(is_live, records(*self._claim)))

    def claimed(self) -> str | None:
        """Train it; return an error or an empty string, None if another process has claimed it."""
        claim = Claim.take(*self._claim)
        if claim is None:
            return None
        with claim:
            for other in records(*self._claim):
                if not is_live(other):
                    remove(other)
            return "" if self.is_finished() else train_or_continue(self.run)


def _trained(trainings: Sequence[Training], jobs: int, say: Say) -> Iterator[tuple[Training, str]]:
    """Yield each training with its error or an empty string, when it ends in any process."""
    left = list(trainings)
    while left:
        free = [each for each in left if not each.is_claimed()]
        ended = [each for each in free if each.is_finished()]
        found = _round([each for each in free if each not in ended], jobs)
        for each, error in chain(((each, "") for each in ended), found):
            if error is not None:
                left.remove(each)
                yield each, error
        if left:
            say(f"waiting for {len(left)} runs in other processes")
        while left and all(each.is_claimed() for each in left):
            time.sleep(POLL_S)


def _round(trainings: Sequence[Training], jobs: int) -> Iterator[tuple[Training, str | None]]:
    """Yield each training when it ends, with the result of `Training.claimed`."""
    if jobs == 1 or len(trainings) < 2:
        for each in trainings:
            yield each, each.claimed()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(trainings)), context, _end_with_parent) as pool:
        try:
            futures = {pool.submit(each.claimed): each for each in trainings}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """End this worker with its parent; otherwise it would wait for work forever."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
