"""Small true inputs that many tests share: a generated corpus, its text model, its shards."""

from __future__ import annotations

import functools
import gc
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock

# Workers of pytest-xdist are as many as there are cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from fv2es_prep.demo import make_corpus, make_text_model
from pipelines.config import PrepConfig, prep_config
from pipelines.plan import Plan, plan_corpus
from pipelines.run import Summary, run
from tests import fork_server

if TYPE_CHECKING:
    from numpy.typing import NDArray

# No test asks the hub, also where there is a network.
os.environ["HF_HUB_OFFLINE"] = "1"

# Names of keyword arguments for fields of sections.
PATHS = {
    "interval_s": "frames.interval_s",
    "max_tokens": "text.max_tokens",
    "detector": "faces.detector",
}


@pytest.fixture(scope="session", autouse=True)
def detected_once() -> Iterator[None]:
    """Preparations of equal pictures share what our detector found in them."""
    from fv2es_prep.detectors.mtcnn import Mtcnn

    detect, found = Mtcnn._detect, {}

    @functools.wraps(detect)
    def detect_once(self: Mtcnn, rgb: NDArray[np.uint8], fast: bool) -> NDArray[np.float32]:
        digest = hashlib.sha256(np.ascontiguousarray(rgb)).digest()
        key = (self._settings, fast, rgb.shape, digest)
        if key not in found:
            found[key] = detect(self, rgb, fast)
        return found[key].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mtcnn, "_detect", detect_once)
        yield


@pytest.fixture
def detected_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector itself is under test."""
    from fv2es_prep.detectors.mtcnn import Mtcnn

    monkeypatch.setattr(Mtcnn, "_detect", Mtcnn._detect.__wrapped__)  # type: ignore[attr-defined]


# What takes longest begins first, so that no worker has it left at the end.
LONGEST = (
    *("train/serve/test_api.py", "prep/test_compact.py", "prep/test_verify.py"),
    *("train/test_resume.py", "pipelines/test_resume.py", "pipelines/test_odd_recordings.py"),
    *("train/serve/test_hostile.py", "train/predict/test_predictor.py", "test_cli.py"),
    *("train/predict/test_reword.py", "pipelines/test_run.py", "train/test_pack.py"),
    *("prep/test_preset.py", "prep/test_faces.py", "train/test_published.py"),
    *("prep/test_presence.py", "train/test_train.py", "train/predict/test_command.py"),
    *("benchmarks/test_bench.py", "prep/test_tracks.py", "train/predict/test_warmup.py"),
    *("train/predict/test_export.py", "test_tables.py"),
)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """All workers fork from one server; xdist calls this in its own process, for each worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        node.workerinput["fork_server"] = fork_server.start()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        fork_server.use(config.workerinput["fork_server"])
    else:
        fork_server.use_own()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collections of garbage leave the libraries and the tests alone."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files for workers that take one file after the other."""
    here = Path(__file__).parent
    order = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(LONGEST)))


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Once:
    """``once(name, make)``: a directory that ``make`` fills once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base

    def directory(name: str, make: Callable[[Path], object]) -> Path:
        place, done = shared / "once" / name, shared / "once" / f"{name}.done"
        place.parent.mkdir(exist_ok=True)
        with FileLock(f"{place}.lock"):
            if not done.exists():
                # What a maker that failed has left.
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                make(place)
                done.touch()
        return place

    return directory


@pytest.fixture(scope="session")
def demo(once: Once) -> Path:
    """Three sessions of one dialogue with six labelled turns each, in IEMOCAP's layout."""
    return once("corpus", lambda root: make_corpus(root, sessions=3, dialogues=1, turns=6))


@pytest.fixture(scope="session")
def corpus(demo: Path) -> Path:
    """The demo corpus, where a package has no other one."""
    return demo


@pytest.fixture(scope="session")
def text_model(once: Once) -> Path:
    """A small ALBERT and its tokenizer."""
    return once("albert", make_text_model)


@pytest.fixture(scope="session")
def options_for() -> Callable[..., PrepConfig]:
    """A configuration that gives one shard for each recording."""

    def options(corpus: Path, out: Path, text_model: Path, **changes: Any) -> PrepConfig:
        given = {"raw": corpus, "out": out, "tokenizer": str(text_model), "shard_mb": 0.1}
        given |= {PATHS.get(name, name): value for name, value in changes.items()}
        return prep_config("iemocap", **given)

    return options


@pytest.fixture(scope="session")
def prepare() -> Callable[..., tuple[Plan, Summary]]:
    """Plan and run."""

    def plan_and_run(
        options: PrepConfig,
        executor: str = "inline",
        report: Callable[[int], None] = lambda _: None,
    ) -> tuple[Plan, Summary]:
        plan = plan_corpus(options)
        return plan, run(plan, options.out, executor, report, options.cluster)

    return plan_and_run


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dask forks its workers from the process that has loaded the libraries."""
    import dask

    fork_server.context()
    monkeypatch.setattr("distributed.utils._forkserver_preload_set", True, raising=False)
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        yield


@pytest.fixture(scope="session")
def prepared(
    demo: Path,
    text_model: Path,
    once: Once,
    prepare: Callable[..., tuple[Plan, Summary]],
    options_for: Callable[..., PrepConfig],
) -> Path:
    """The demo corpus as shards; to be read, not written."""
    return once("shards", lambda out: prepare(options_for(demo, out, text_model)))


@pytest.fixture
def shards(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the shards that a test may damage."""
    return Path(shutil.copytree(prepared, tmp_path / "shards"))
