"""Completion of the command line in real shells."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
# What makes the shell's own completion work; then ours, as the user installs it.
LOAD = {
    "bash": 'eval "$(fv2es --show-completion)"',
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$(fv2es --show-completion)"',
}


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, name: str, place: Path) -> None:
        script = place / "bin" / "fv2es"
        script.parent.mkdir()
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            "from fv2es import main\nmain()\n"
        )
        script.chmod(0o755)
        environment = {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"}
        environment |= {"TERM": "dumb", "PS1": "$ ", "HOME": str(place), "COLUMNS": "500"}
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            START[name],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=place,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.type(LOAD[name] + "; echo lo''aded\n")
        self.wait_for("loaded")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, words: str, patience_s: float = 60) -> float:
        """Read until the terminal shows the words; returns how long that took, in seconds."""
        began, seen = time.monotonic(), ""
        while words not in seen:
            left_s = began + patience_s - time.monotonic()
            assert left_s > 0, seen
            if select.select([self.master], [], [], left_s)[0]:
                seen += os.read(self.master, 65536).decode(errors="replace")
        return time.monotonic() - began

    def completed(self, start: str, whole: str) -> float:
        """Type the start of a line and Tab; how long it took until the line was whole."""
        self.type(f"echo {start!r}\n")
        self.wait_for(f"{start}\r\n")
        self.type(f"{start}\t")
        took_s = self.wait_for(whole)
        # Ctrl-U empties the line.
        self.type("\x15\n")
        return took_s

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    opened = Shell(request.param, tmp_path)
    yield opened
    opened.close()


def test_commands_options_choices_and_paths_are_completed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "corpus-directory").mkdir()
    lines = {
        "fv2es compa": "fv2es compare",
        "fv2es prep iem": "fv2es prep iemocap",
        "fv2es train --epo": "fv2es train --epochs",
        "fv2es train --model fv2es-t": "fv2es train --model fv2es-tiny",
        "fv2es prep iemocap corpus-dir": "fv2es prep iemocap corpus-directory",
    }
    took_s = [shell.completed(start, whole) for start, whole in lines.items()]
    # A start of Python with the modules of the commands, on a busy machine.
    assert min(took_s) < 2


def test_completion_imports_nothing_heavy() -> None:
    asked = {
        "_FV2ES_COMPLETE": "complete_bash",
        "COMP_WORDS": "fv2es train --ep",
        "COMP_CWORD": "2",
    }
    code = (
        "import sys\nsys.argv = ['fv2es']\n"
        "import atexit\nfrom fv2es import main\n"
        "heavy = {'torch', 'numpy', 'h5py', 'dask', 'transformers'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\nmain()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}
    )
    assert found.stdout.split("\n")[:2] == ["--epochs", "[]"], found.stderr
