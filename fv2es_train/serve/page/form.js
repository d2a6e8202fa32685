// The form: which video, which words, who is scored. Owns its checks and what is sent of it.

import { byId, show } from "./dom.js";
import { bytes, clock, duration, plainName } from "./format.js";
import { tryOut } from "./playable.js";
import { Recorder } from "./recorder.js";

/** The form; `onSend` is called with `form` (FormData), `file` and `seen` (see `tryOut`). */
export class Form {
  #about = null;
  #file = null;
  #seen = null;
  #transcript = null;

  constructor(onSend) {
    this.onSend = onSend;
    new Recorder(
      (file) => this.choose(file),
      () => this.#about.limits.duration_s,
    );
    byId("file").addEventListener("change", (event) => this.choose(event.target.files[0]));
    byId("transcript-file").addEventListener("change", (event) =>
      this.#take(event.target.files[0]),
    );
    byId("transcript-drop").addEventListener("click", () => this.#take(null));
    byId("start").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!byId("send").disabled) this.onSend(this.request());
    });
    this.#dropping();
  }

  /** Say what the server takes and what it does with words. */
  describe(about) {
    this.#about = about;
    const { upload_bytes: size, duration_s: length } = about.limits;
    const kept = duration(about.limits.keep_s);
    byId("limits").textContent =
      `Any video or sound file, up to ${bytes(size)} and ${duration(length)}. ` +
      `The server deletes it when it is scored, and the results after ${kept}. ` +
      "This browser keeps the video until you press Delete or the results are gone.";
    byId("recogniser").textContent = wordsSentence(about);
    const worded = about.modalities.includes("t");
    for (const id of ["transcript", "transcript-file"]) byId(id).disabled = !worded;
  }

  /** Take a file, from wherever it comes, and say whether it is usable. */
  async choose(file) {
    if (!file) return;
    this.#file = file;
    this.#seen = null;
    show(true, byId("chosen"));
    byId("chosen-name").textContent = file.name;
    byId("chosen-size").textContent = bytes(file.size);
    this.#judge("Checking whether this browser can play it.", false);
    const { limits } = this.#about;
    if (file.size > limits.upload_bytes) {
      this.#judge(
        `It is too large: the server takes up to ${bytes(limits.upload_bytes)}.`,
        false,
        true,
      );
      return;
    }
    if (file.size === 0) {
      this.#judge("It is empty.", false, true);
      return;
    }
    const seen = await tryOut(file);
    if (this.#file !== file) return; // Another one was chosen meanwhile.
    this.#seen = seen;
    if (seen.length_s > limits.duration_s) {
      this.#judge(
        `It lasts ${clock(seen.length_s, 0)}: the server takes up to ${duration(limits.duration_s)}.`,
        false,
        true,
      );
      return;
    }
    this.#judge(playSentence(seen), true);
  }

  /** What is to be sent. */
  request() {
    const form = new FormData();
    form.append("video", this.#file, plainName(this.#file.name));
    if (this.#transcript)
      form.append("transcript", this.#transcript, plainName(this.#transcript.name));
    else if (byId("transcript").value.trim()) form.append("transcript", byId("transcript").value);
    if (byId("spans").value.trim()) form.append("spans", byId("spans").value);
    for (const view of byId("views")
      .value.split(/[\s,;]+/)
      .filter(Boolean))
      form.append("view", view);
    form.append("faces", byId("start").elements.faces.value);
    if (!this.#seen.plays) form.append("preview", "true");
    return { form, file: this.#file, seen: this.#seen };
  }

  /** Forget the file; the other fields stay, for the next video of a series. */
  clear() {
    this.#file = this.#seen = null;
    byId("file").value = "";
    show(false, byId("chosen"));
    byId("send").disabled = true;
    this.#take(null);
    byId("transcript").value = "";
    byId("spans").value = "";
  }

  #judge(sentence, usable, wrong = false) {
    const note = byId("chosen-note");
    note.textContent = sentence;
    note.classList.toggle("wrong", wrong);
    byId("spoken").textContent = sentence;
    byId("send").disabled = !usable;
  }

  #take(file) {
    this.#transcript = file ?? null;
    byId("transcript-name").textContent = file?.name ?? "";
    show(Boolean(file), byId("transcript-drop"));
    byId("transcript").disabled = Boolean(file) || !this.#about.modalities.includes("t");
    if (!file) byId("transcript-file").value = "";
  }

  #dropping() {
    const place = byId("drop");
    // Without this a file that misses the place would be opened instead of the page.
    for (const kind of ["dragover", "drop"]) {
      document.addEventListener(kind, (event) => event.preventDefault());
    }
    for (const kind of ["dragenter", "dragover"]) {
      place.addEventListener(kind, () => place.classList.add("over"));
    }
    for (const kind of ["dragleave", "drop"]) {
      place.addEventListener(kind, () => place.classList.remove("over"));
    }
    place.addEventListener("drop", (event) => this.choose(event.dataTransfer.files[0]));
  }
}

function wordsSentence(about) {
  if (!about.modalities.includes("t")) return "The model of this run does not use words.";
  if (about.recogniser) {
    return (
      `Without a transcript, the speech recogniser ${about.recogniser} writes the words. ` +
      "You can correct them afterwards."
    );
  }
  return "There is no speech recogniser: without a transcript, words are not used.";
}

function playSentence(seen) {
  const length = Number.isFinite(seen.length_s) ? `Lasts ${clock(seen.length_s)}. ` : "";
  if (seen.plays) return `${length}Ready.`;
  if (seen.sounds) return `${length}It has sound only. Ready.`;
  return "This browser cannot play it. The server makes a small film of it for you to watch.";
}
