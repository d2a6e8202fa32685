"""The sample of `fv2es serve`: a film that the server generates and scores like an upload."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from fv2es_train.serve.api_errors import ApiError
from fv2es_train.serve.messages import ScoreTask
from fv2es_train.serve.sample import NAME, Sample
from fv2es_train.serve.settings import Limits
from tests.train.serve.conftest import Server


def test_the_sample_is_scored_with_words_and_a_preview_and_can_be_deleted(server: Server) -> None:
    job = server.wait(httpx.post(f"{server.url}/v1/sample", timeout=60))
    assert job["state"] == "done" and job["video"] == NAME and job["preview"]
    assert {one["speaker"] for one in job["utterances"]} == {"left", "right"}
    assert all(one["text"] and one["used"] == "tva" for one in job["utterances"])
    address = f"/v1/jobs/{job['id']}"
    assert server.get(f"{address}/preview.webm").content.startswith(b"\x1a\x45\xdf\xa3")
    assert httpx.delete(f"{server.url}{address}").status_code == 204
    assert server.get(address).status_code == 404
    # The film itself is kept for the next request, and goes with the server.
    assert [path.name for path in server.left() if path.name == NAME] == [NAME]


def test_the_film_is_generated_once_and_each_job_has_a_copy(tmp_path: Path) -> None:
    sample = Sample(tmp_path)
    first = sample.job(Limits(), 2.0)
    began = time.monotonic()
    second = sample.job(Limits(), 2.0)
    assert time.monotonic() - began < 2
    assert first.folder != second.folder and first.id != second.id
    assert isinstance(second.task, ScoreTask) and second.task.request.video.exists()
    assert second.task.request.spans and 5 < second.task.video.length_s < 60
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ApiError):
        sample.job(Limits(duration_s=1.0), 2.0)
    assert set(tmp_path.rglob("*")) == before
