"""A plan on disk: `SHARDS/.plan/DIGEST/`, from which any process can take tasks.

    plan.json          what finishing needs, and the names of tasks, longest first
    tasks/NAME.json    one task
    claims/            which worker builds which task, see `claims`
    progress/NAME      utterances done
    results/NAME.json  a receipt or an error
    building/          unfinished shards

plan.json and tasks never change.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fv2es_prep import errors
from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.stages.registry import is_encoder
from fv2es_prep.types import Inventory, ShardReceipt
from fv2es_prep.utils.claims import Claim, is_live, records, remove
from fv2es_prep.utils.files import absolute, cannot_write, whole_file
from pipelines.cache import partial_count
from pipelines.code import code_here
from pipelines.executors.path_map import SAME_PATHS, PathMap
from pipelines.media_hashes import HashedMedia, remember, remembered_hashes
from pipelines.task import ShardTask, longest_first

if TYPE_CHECKING:
    from pipelines.plan import Plan

PLAN_NAME = ".plan"
_PARTS = ("claims", "progress", "results", "building")
STOPPING = (errors.OutputError, errors.MediaError)
"""Errors of a task that stop the run: other tasks would also fail, or the user asked for it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Contents:
    """What finishing a dataset needs in addition to the receipts of its tasks.

    Attributes:
        inventory: the inventory without its recordings and utterances.
        utterances: number of its utterances.
        shards: name of every shard of the dataset, in order.
        finished: receipts of the shards that were complete before.
        tasks: name of each shard to build -> number of its utterances, longest task first.
        decodes: whether any task decodes media or runs an encoder; otherwise starting workers is
            not worthwhile.
        encoders: stage -> name at the hub or directory of its encoder.
        code: code of the planning process, see `code_here`; workers must have the same.
    """

    inventory: Inventory
    utterances: int
    without_text: int
    settings: PrepSettings
    tokenizer: str
    shards: tuple[str, ...]
    finished: tuple[ShardReceipt, ...]
    tasks: dict[str, int]
    decodes: bool
    encoders: dict[str, str] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)


class _Hashed(msgspec.Struct):
    hashed: dict[str, HashedMedia] = {}


class _Result(msgspec.Struct):
    """The part of a result that `PlanDirectory.hashed` reads."""

    receipt: _Hashed = msgspec.field(default_factory=_Hashed)


class PlanDirectory:
    """A plan on disk; ``paths`` maps the paths in tasks to paths on the worker."""

    def __init__(self, path: Path, paths: PathMap = SAME_PATHS) -> None:
        self.path, self._paths = path, paths

    @cached_property
    def contents(self) -> Contents:
        """What finishing needs."""
        return _value(_read(self.path / "plan.json"), Contents)

    def task(self, name: str) -> ShardTask:
        """The task that builds a shard."""
        there = self._paths.there
        task = _value(_read(self.path / "tasks" / f"{name}.json"), ShardTask, there)
        encoders = {stage: there(encoder) for stage, encoder in task.encoders.items()}
        return replace(task, tokenizer=there(task.tokenizer), encoders=encoders)

    def take(self) -> tuple[str, Claim] | None:
        """Claim the longest remaining task; None if there is none, or the plan is removed."""
        try:
            for name in self._open():
                claim = Claim.take(self.path / "claims", name)
                # It may have been finished after it was listed as open.
                if claim and self._result(name).exists():
                    claim.release()
                elif claim:
                    return name, claim
        except FileNotFoundError:
            pass
        return None

    def finished(self) -> set[str]:
        """Names of the tasks that have a result."""
        return {path.stem for path in (self.path / "results").iterdir() if path.suffix == ".json"}

    def mark(self) -> tuple[int, int]:
        """Number of finished tasks, and of partial shards of stopped workers."""
        return len(self.finished()), partial_count(self.out)

    @property
    def out(self) -> Path:
        """The dataset directory."""
        return self.path.parent.parent

    def open_tasks(self) -> int:
        """Number of tasks that can be claimed now."""
        return sum(1 for _ in self._open())

    def done(self, finished: set[str]) -> int:
        """Number of utterances done: all of finished tasks, and those counted so far."""
        tasks = self.contents.tasks
        begun = [p for p in (self.path / "progress").iterdir() if p.name not in finished]
        return sum(tasks[name] for name in finished) + sum(map(_count, begun))

    def advance(self, name: str, done: int) -> None:
        """Record how many utterances of a task are done."""
        (self.path / "progress" / name).write_text(str(done), encoding="utf-8")

    def put(self, name: str, result: ShardReceipt | Exception) -> None:
        """Write the result of a task."""
        kind = type(result).__name__
        value: dict[str, Any] = {"error": "WorkError", "arguments": [str(result) or repr(result)]}
        if isinstance(result, ShardReceipt):
            value = {"receipt": _plain(result)}
        elif hasattr(errors, kind):
            value = {"error": kind, "arguments": result.args}
        _write(self._result(name), value)

    def result(self, name: str) -> ShardReceipt | Exception:
        """The result of a finished task."""
        values = _read(self._result(name))
        if "receipt" in values:
            return _value(values["receipt"], ShardReceipt)
        error: Exception = getattr(errors, values["error"])(*values["arguments"])
        return error

    def hashed(self) -> dict[str, HashedMedia]:
        """The hashes of media files that came with receipts."""
        found = {}
        for name in self.finished():
            result = msgspec.json.decode(self._result(name).read_bytes(), type=_Result)
            found.update(result.receipt.hashed)
        return found

    def remove(self) -> None:
        """Remove the plan, but keep its hashes; its workers stop at their next step."""
        # Without the hashes the next run hashes the files again.
        with contextlib.suppress(FileNotFoundError, errors.OutputError):
            remember(self.out, self.hashed())
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def forget_failures(self) -> None:
        """Release failed tasks, and tasks of dead workers."""
        for record in records(self.path / "claims"):
            if not is_live(record):
                remove(record)
        for name in self.finished():
            if isinstance(self.result(name), Exception):
                self._result(name).unlink(missing_ok=True)

    def _open(self) -> Iterator[str]:
        finished = self.finished()
        held = {one.parent.stem for one in records(self.path / "claims") if is_live(one)}
        return (name for name in self.contents.tasks if name not in finished | held)

    def _result(self, name: str) -> Path:
        return self.path / "results" / f"{name}.json"


def running_plan(out: Path) -> PlanDirectory:
    """The plan in a dataset directory.

    Raises:
        ShardError: there is none.
    """
    found = sorted(path.parent for path in (out / PLAN_NAME).glob("[!.]*/plan.json"))
    if not found:
        raise errors.ShardError(
            f"{out} has no plan, expected that of an unfinished run",
            "run `fv2es shards status` to see the state: a run that has ended leaves no plan",
        )
    return PlanDirectory(found[0])


def write_plan(plan: Plan, out: Path) -> PlanDirectory:
    """Write the tasks that a plan still has to build; an equal existing plan keeps its receipts.

    Removes every other plan in the dataset directory, which the caller has locked.

    Raises:
        OutputError: the directory cannot be written.
    """
    contents, tasks = _contents(plan), {task.path.stem: _plain(task) for task in plan.todo}
    path = out / PLAN_NAME / digest_of(json.dumps([_plain(contents), tasks]))
    for other in path.parent.glob("*"):
        if other != path:
            _give_up(PlanDirectory(other), plan.todo, contents.code)
    try:
        if not path.is_dir():
            begun = path.with_name(f".{uuid.uuid4().hex}")
            for part in ("tasks", *_PARTS):
                (begun / part).mkdir(parents=True)
            for name, values in tasks.items():
                _write(begun / "tasks" / f"{name}.json", values)
            _write(begun / "plan.json", _plain(contents))
            begun.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    directory = PlanDirectory(path)
    directory.forget_failures()
    return directory


def _give_up(earlier: PlanDirectory, todo: Sequence[ShardTask], code: dict[str, str]) -> None:
    """Remove an earlier plan, and shards of ``todo`` that its workers have built with other code.

    They finished these after this run was planned; run.json will say that ``code`` made them.
    """
    try:
        same = earlier.contents.code == code
    except (OSError, ValueError):
        same = False
    earlier.remove()
    for task in () if same else todo:
        task.path.unlink(missing_ok=True)


def earlier_hashes(out: Path) -> dict[str, HashedMedia]:
    """Hashes of media files that are remembered or came with receipts of a killed run."""
    found = remembered_hashes(out)
    for path in (out / PLAN_NAME).glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found |= PlanDirectory(path).hashed()
    return found


def _contents(plan: Plan) -> Contents:
    inventory, todo = plan.inventory, longest_first(plan.todo)
    return Contents(
        replace(inventory, recordings=(), utterances=()),
        len(inventory.utterances),
        inventory.without_text,
        plan.settings,
        plan.tasks[0].tokenizer,
        tuple(task.path.name for task in plan.tasks),
        tuple(plan.finished.values()),
        {task.path.stem: len(task.utterances) for task in todo},
        any(task.missing_for("video", "sound") or _encodes(task) for task in todo),
        plan.tasks[0].encoders,
        code_here(),
    )


def _encodes(task: ShardTask) -> bool:
    return any(task.missing(name) for name in task.header.settings.stages if is_encoder(name))


def _count(path: Path) -> int:
    try:
        return int(path.read_text(encoding="utf-8") or 0)
    except OSError:
        return 0


def _plain(value: Any) -> Any:
    # Workers may run in another directory.
    return msgspec.to_builtins(value, enc_hook=lambda path: str(absolute(path)))


def _value(values: Any, kind: type[T], there: Callable[[str], str] = str) -> T:
    """Convert to the type; every value that JSON does not have is a path."""
    return msgspec.convert(values, kind, dec_hook=lambda kind, value: kind(there(value)))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, value: Any) -> None:
    with whole_file(path) as temporary:
        # In ASCII, so that file names that are not UTF-8 survive.
        temporary.write_text(json.dumps(value), encoding="utf-8")
