"""Small true inputs that many tests share: a generated corpus, its text model, its shards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fv2es_prep.demo import make_corpus, make_text_model
from pipelines.plan import Plan
from pipelines.prepare import PrepOptions, plan_corpus
from pipelines.run import Summary, run

# No test asks the hub, also where there is a network.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of one dialogue with six labelled turns each, in IEMOCAP's layout."""
    root = tmp_path_factory.mktemp("corpus")
    return make_corpus(root, sessions=3, dialogues=1, turns=6)


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ALBERT and its tokenizer."""
    return make_text_model(tmp_path_factory.mktemp("albert"))


@pytest.fixture(scope="session")
def options_for() -> Callable[..., PrepOptions]:
    """Options that give one shard for each recording."""

    def options(corpus: Path, out: Path, text_model: Path, **changes: Any) -> PrepOptions:
        chosen = {"tokenizer": str(text_model), "shard_mb": 0.1, **changes}
        return PrepOptions("iemocap", corpus, out, **chosen)

    return options


@pytest.fixture(scope="session")
def prepare() -> Callable[..., tuple[Plan, Summary]]:
    """Plan and run."""

    def plan_and_run(
        options: PrepOptions,
        executor: str = "inline",
        report: Callable[[int], None] = lambda _: None,
    ) -> tuple[Plan, Summary]:
        plan = plan_corpus(options)
        return plan, run(plan, options.out, executor, report)

    return plan_and_run


@pytest.fixture(scope="session")
def prepared(
    corpus: Path,
    text_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    prepare: Callable[..., tuple[Plan, Summary]],
    options_for: Callable[..., PrepOptions],
) -> Path:
    """The corpus as shards; to be read, not written."""
    out = tmp_path_factory.mktemp("prepared") / "shards"
    prepare(options_for(corpus, out, text_model))
    return out


@pytest.fixture
def shards(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the shards that a test may damage."""
    return Path(shutil.copytree(prepared, tmp_path / "shards"))
