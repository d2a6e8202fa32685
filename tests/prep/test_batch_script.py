"""Batch scripts of SLURM."""

from __future__ import annotations

from pathlib import Path

import pytest

from fv2es_prep.errors import SettingsError
from fv2es_prep.utils.slurm import batch_script


def test_a_users_option_comes_after_ours_and_a_percent_sign_is_no_pattern() -> None:
    script = batch_script("x", Path("/a b/50%.log"), ["time=1"], ["true"], ["time=2", "exclusive"])
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash" and lines[-1] == "true"
    assert '#SBATCH --output="/a b/50%%.log"' in lines
    assert lines.index("#SBATCH --time=2") > lines.index("#SBATCH --time=1")
    assert "#SBATCH --exclusive" in lines


@pytest.mark.parametrize("option", ["--time=1", "", "time=1\nrm -r x", "time 1"])
def test_an_option_of_another_form_is_refused(option: str) -> None:
    with pytest.raises(SettingsError, match="invalid option of sbatch"):
        batch_script("x", Path("log"), [], [], [option])
