"""An adaptive Dask cluster whose workers are jobs of a real SLURM."""

from __future__ import annotations

import sys

import pytest

from fv2es_prep.utils.files import sha256_of
from tests.slurm_cluster import cluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=f"SLURM: {missing()}")]


def test_slurm_jobs_are_started_for_a_run_and_give_the_same_bytes(
    corpus, text_model, prepared, tmp_path, prepare, options_for, capsys, monkeypatch
):
    from dask_jobqueue import SLURMCluster

    (tmp_path / "slurm").mkdir()
    with cluster(tmp_path / "slurm") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with SLURMCluster(
            cores=1,
            memory="2GB",
            walltime="00:10:00",
            python=sys.executable,
            interface="lo",
            # Nodes of this cluster say nothing of their memory.
            job_directives_skip=["--mem"],
            log_directory=str(tmp_path),
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
        ) as jobs:
            jobs.adapt(minimum=0, maximum=2, interval="200ms")
            prepare(options_for(corpus, tmp_path / "out", text_model), jobs.scheduler_address)
    said = capsys.readouterr().err
    assert "waiting for workers at" in said and " worker(s) at" in said, said
    made = {p.name: sha256_of(p) for p in (tmp_path / "out").glob("*.h5")}
    assert made == {p.name: sha256_of(p) for p in prepared.glob("*.h5")}
