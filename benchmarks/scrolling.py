"""The page of `fv2es browse` in Chromium: time of first rows, filters and scrolling."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.timing import environment

SCROLLED = ("wheel", "drag", "jump")
_SCROLL_S = 6


def make(directory: str, count: int, per_shard: int = 500, seed: int = 0) -> dict[str, Any]:
    """Write shards of utterances with one face, eight mel rows and two tokens each."""
    import numpy as np

    from fv2es_prep.config import PrepSettings, TextSettings
    from fv2es_prep.shards.catalogue import write_catalogue
    from fv2es_prep.shards.dropped import write_dropped
    from fv2es_prep.shards.index import make_index, write_index
    from fv2es_prep.shards.writer import ShardHeader, ShardWriter
    from fv2es_prep.types import Example, Faces, MelSpectrum, ShardReceipt, Utterance

    place, classes = Path(directory), ("ang", "exc", "fru", "hap", "neu", "sad")
    place.mkdir(parents=True, exist_ok=True)
    head = "made", classes, (), PrepSettings(text=TextSettings("none", "0" * 64, 40))
    rng, receipts = np.random.default_rng(seed), []
    noise = rng.integers(0, 60, (64, 48, 48, 3), dtype=np.uint8)
    seen = np.zeros(1), np.ones(1, bool), np.zeros((1, 4), np.float32), np.ones(1, np.float32)
    mel, tokens = MelSpectrum(np.full((8, 128), -8, np.float16), 0.0125), np.array([2, 3], np.int32)

    def example(n: int) -> Example:
        recording, turn, name = f"rec{n // 49:05d}", n % 49, classes[n % 6]
        times = 4.0 * turn, 4.0 * turn + 1 + n % 7
        people = f"spk{n // 490}{'FM'[n % 2]}", f"Session{n // 49 % 5 + 1}"
        utterance = Utterance(
            f"{recording}_{turn:03d}", recording, *times, f"words of number {n}", (name,), *people
        )
        faces = Faces(noise[[n % 64]] + rng.integers(0, 190, 3, dtype=np.uint8), *seen)
        label = np.array([one == name for one in classes], np.uint8)
        return Example(utterance=utterance, label=label, faces=faces, mel=mel, tokens=tokens)

    for start in range(0, count, per_shard):
        name, held = (
            f"made-{start // per_shard:05d}.h5",
            range(start, min(start + per_shard, count)),
        )
        with ShardWriter(place / name, ShardHeader(*head, {}, task_digest=str(start))) as writer:
            for n in held:
                writer.append(example(n))
            receipts.append(ShardReceipt(name, *writer.close(), len(held), str(start)))
    index = write_catalogue(place, make_index(*head, receipts))
    write_dropped(place, ())
    write_index(place, index)
    return {"shards": len(receipts)}


def scroll(directory: str) -> dict[str, Any]:
    """Measure the first rows, three filters, and scrolling by wheel, by scroll bar and by jumps."""
    from playwright.sync_api import sync_playwright

    command = (sys.executable, "-m", "cli", "browse", directory, "--port", "0")
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    assert server.stderr is not None
    try:
        address = next(iter(re.findall(r"http://\S+", server.stderr.readline())))
        with sync_playwright() as playwright:
            named = os.environ.get("FV2ES_CHROMIUM") or shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=named, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            began = time.perf_counter()
            page.goto(address)
            page.get_by_test_id("row").first.wait_for()
            first_s = time.perf_counter() - began
            filter_s = max(page.evaluate(_FILTER, name) for name in ("ang", "", "sad"))
            found = {}
            for how in SCROLLED:
                # A fresh page that has prefetched nothing.
                page.goto(address)
                page.get_by_test_id("row").first.wait_for()
                found[how] = page.evaluate(_SCROLL, {"how": how, "seconds": _SCROLL_S})
            browser.close()
        status = Path(f"/proc/{server.pid}/status")
        peak = re.findall(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else []
        server_gb = int(peak[0]) * 1024 / 1e9 if peak else None
    finally:
        server.terminate()
        server.wait()
    return {**found, "first_s": first_s, "filter_s": filter_s, "server_gb": server_gb}


# Seconds from the choice of a class to the frame that shows the first row of the answer.
_FILTER = """
async (name) => {
  const select = document.querySelector("[data-testid=label]");
  const before = document.querySelector("[data-testid=total]").textContent;
  const began = performance.now();
  select.value = name;
  select.dispatchEvent(new Event("input", { bubbles: true }));
  const isSame = () => document.querySelector("[data-testid=total]").textContent === before;
  while (isSame() || !document.getElementById("row-0")?.childElementCount) {
    await new Promise(requestAnimationFrame);
  }
  return (performance.now() - began) / 1000;
}
"""
# Checks the visible rows before each frame is drawn. For pictures: how long they are missing in
# rows that stay visible.
_SCROLL = """
async ({ how, seconds }) => {
  const view = document.querySelector("[data-testid=list]"), line = 48;
  const rows = view.scrollHeight / line, end = view.scrollHeight - view.clientHeight;
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const found = { frames: 0, slow: 0, longest_ms: 0, blank_ms: 0, late_ms: 0 };
  let last = 0, blank = 0, late = 0, top = -1, runs = true;
  const look = (now) => {
    if (last) {
      const took = now - last;
      found.frames += 1;
      found.slow += took > 50;
      found.longest_ms = Math.max(found.longest_ms, took);
      const first = Math.floor(view.scrollTop / line);
      const shown = [];
      for (let n = first; n < Math.min(rows, (view.scrollTop + view.clientHeight) / line); n += 1) {
        shown.push(document.getElementById(`row-${n}`));
      }
      blank = shown.every((row) => row?.childElementCount) ? 0 : blank + took;
      const lacks = shown.some((row) => !row?.querySelector("img")?.naturalWidth);
      late = top === view.scrollTop && lacks ? late + took : 0;
      top = view.scrollTop;
      found.blank_ms = Math.max(found.blank_ms, blank);
      found.late_ms = Math.max(found.late_ms, late);
    }
    last = now;
    if (runs) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  const began = performance.now();
  for (let spent = 0; spent < seconds * 1000; spent = performance.now() - began) {
    if (how === "wheel") view.scrollTop += 40;
    else if (how === "drag") view.scrollTop = (end * spent) / (seconds * 1000);
    else view.scrollTop = end * Math.random();
    await rest(how === "jump" ? 400 : 8);
  }
  await rest(1000);
  runs = false;
  return found;
}
"""
