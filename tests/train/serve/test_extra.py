"""`fv2es serve` without the packages of the extra `serve`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A module that is None in sys.modules cannot be imported or found.
PROGRAM = """
import sys
hidden = ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client")
sys.modules.update(dict.fromkeys(hidden))
from cli import app
app()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PROGRAM, "serve", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def test_without_its_packages_the_command_says_how_to_install_them() -> None:
    done = run("--run", "run")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: fv2es serve needs the packages fastapi, ")
    assert hint == "hint: install them with `pip install 'fv2es[serve]'`"
    assert run("--help").returncode == 0
