"""What local workers are forked from: a process of one thread with all libraries, found safely."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.executors.fork_server import METHOD

pytestmark = pytest.mark.skipif(METHOD != "forkserver", reason="workers are spawned here")

ROOT = Path(__file__).parents[2]
_WORKER = """
import os, sys
from pathlib import Path
if __name__ == "__main__":
    import multiprocessing
    from pipelines.executors import fork_server
    before = dict(os.environ)
    fork_server.start()
    assert dict(os.environ) == before
    import {home}
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        loaded, threads, path = pool.apply({home}.seen)
    print(*loaded)
    print(threads)
    print(path)
"""
_SEEN = """
import os, sys
def seen():
    names = ("torch", "torchaudio", "distributed", "transformers", "numba", "cv2", "openvino")
    loaded = [name for name in names if name in sys.modules]
    threads = len(os.listdir(f"/proc/{os.getppid()}/task"))
    return loaded, threads, sys.modules["torchaudio"].__file__
"""


def test_workers_come_from_one_thread_with_all_libraries_but_openvino(tmp_path):
    # OpenVINO starts a thread when it is imported, which a fork would not copy.
    home = tmp_path / "code"
    home.mkdir()
    (home / "seen_here.py").write_text(_SEEN)
    (home / "start.py").write_text(_WORKER.format(home="seen_here"))
    # A module in the current directory is not taken for a library.
    (tmp_path / "torchaudio.py").write_text("raise SystemExit('imported')")
    done = subprocess.run(
        [sys.executable, str(home / "start.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, threads, path = done.stdout.splitlines()
    assert loaded == "torch torchaudio distributed transformers numba cv2"
    assert threads == "1"
    assert "site-packages" in path
