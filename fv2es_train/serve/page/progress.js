// How far the work is. Owns the panel with the bar, and what is read out of it.

import { byId, show } from "./dom.js";
import { bytes, clock, percent, several } from "./format.js";

const PARTS = {
  speech: "Looking for speech",
  utterances: "Scoring utterances",
  preview: "Making a film for this browser",
};
let last = "";

/** Show the panel; `onStop` is called by its button. */
export function open(onStop) {
  last = "";
  show(true, byId("progress"));
  const stop = byId("stop");
  stop.disabled = false;
  stop.onclick = () => {
    stop.disabled = true;
    onStop();
  };
}

/** Take the panel away. */
export function close() {
  show(false, byId("progress"));
}

/** Some bytes of all are sent. */
export function sending(sent, all) {
  const whole = sent >= all && all > 0;
  const text = whole ? "The server checks it" : `${bytes(sent)} of ${bytes(all)}`;
  write("Sending", text, all ? sent / all : null);
  if (whole) byId("bar").removeAttribute("value");
}

/** The server generates its sample. */
export function preparing() {
  write("Preparing the sample", "The first time this takes some seconds", null);
}

/** A result is fetched again. */
export function asking() {
  write("Fetching the result", "", null);
}

/** A job is as far as its state says. */
export function working(job) {
  if (job.state === "waiting") {
    const before = job.position === 0 ? "next" : `${several(job.position, "video")} before it`;
    write("Waiting", before, null);
    return;
  }
  const title = PARTS[job.part] ?? "Working";
  const length = job.length_s;
  const counted = job.count ? several(job.count, "utterance") : "";
  const known = length > 0 && job.progress > 0;
  const place = known ? `${percent(job.progress)} of ${clock(length)}` : "";
  write(title, [place, counted].filter(Boolean).join(", "), job.progress > 0 ? job.progress : null);
}

function write(title, text, share) {
  byId("progress-title").textContent = title;
  byId("progress-text").textContent = text;
  if (share === null) byId("bar").removeAttribute("value");
  else byId("bar").value = share;
  // A screen reader hears each part and each quarter, not each number.
  const mark = `${title} ${share === null ? "" : Math.floor(4 * share)}`;
  if (mark !== last) byId("spoken").textContent = `${title}. ${text}`;
  last = mark;
}
