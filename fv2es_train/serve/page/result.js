// What was found in a video. Owns keeping player, time line, list and detail in step.

import { scaleOf } from "./bars.js";
import { Detail } from "./detail.js";
import { byId, show } from "./dom.js";
import { clock, isOn, several } from "./format.js";
import { List } from "./list.js";
import { decision } from "./names.js";
import { Player } from "./player.js";
import { awaitSummary, showNotes, showSummary } from "./summary.js";
import { Timeline } from "./timeline.js";
import { Before, Words } from "./words.js";

/** The result; `onRescore(words)` is called with id -> words. */
export class Result {
  #about = null;
  #job = null;
  #utterances = [];
  #before = null;
  #past = null;
  #chosen = -1;
  #done = false;

  constructor(onRescore) {
    this.words = new Words();
    this.player = new Player((seconds) => this.#at(seconds));
    this.timeline = new Timeline(
      (seconds) => this.player.seek(seconds),
      (step) => this.choose(this.#chosen + step),
    );
    this.list = new List((number) => this.choose(number));
    this.detail = new Detail((one, text) => this.#edit(one, text));
    byId("rescore").addEventListener("click", () => onRescore(this.words.toJson()));
    byId("undo").addEventListener("click", () => this.#undo());
    byId("numbers").addEventListener("change", () => this.#renew());
  }

  /** Begin with a new video. */
  begin(about) {
    // The most probable class is decided without thresholds.
    this.#about = { ...about, thresholds: about.rule === "largest" ? {} : about.thresholds };
    this.timeline.begin(about.classes, this.#about.thresholds);
    this.#replace([], null);
    this.#job = null;
    this.#done = false;
    show(false, byId("result"), byId("actions"), byId("changes"));
    awaitSummary();
    showNotes([]);
  }

  /** Take a running job and the utterances that are new. */
  grow(job, fresh) {
    this.#job = job;
    this.#utterances.push(...fresh);
    if (!this.#utterances.length) return;
    show(true, byId("result"));
    this.#describe();
    showNotes(job.notes);
    this.list.add(fresh, this.words, null);
    this.timeline.tell(this.#utterances, this.#length);
    this.player.tell(this.#utterances);
    if (this.#chosen < 0) this.choose(0, false);
  }

  /** Take a finished job; `before` is the one whose words were corrected, or null. */
  finish(job, before = null) {
    const [chosen, seconds] = [this.#chosen, this.player.seconds];
    this.#job = job;
    this.#done = true;
    this.words.clear();
    if (before) this.#replace(job.utterances, new Before(before.utterances));
    show(true, byId("result"), byId("actions"));
    this.#describe();
    this.#past = before?.summary ?? null;
    this.#sum();
    showNotes(job.notes);
    this.#tellChanges(before);
    this.timeline.tell(this.#utterances, this.#length);
    this.player.tell(this.#utterances);
    if (this.#utterances.length) this.choose(Math.max(0, chosen), false);
    if (before) this.player.seek(seconds);
    this.#count();
  }

  /** Choose an utterance; the video goes there. */
  choose(number, seek = true) {
    const one = this.#utterances[number];
    if (!one) return;
    this.#chosen = number;
    this.list.choose(number);
    this.timeline.choose(one);
    this.detail.show(one, number, {
      about: this.#about,
      most: scaleOf(this.#utterances),
      words: this.words,
      old: this.#before?.of(one) ?? null,
      editable: this.#done,
      numbers: byId("numbers").checked,
    });
    if (seek) this.player.seek(one.start_s);
  }

  /** Whether words may be corrected now. */
  set editable(allowed) {
    this.#done = allowed;
    byId("rescore").disabled = !allowed;
    if (this.#chosen >= 0) this.choose(this.#chosen, false);
  }

  get #length() {
    const known = [this.#job?.length_s, this.player.length_s].filter((seconds) => seconds > 0);
    return known.length ? Math.max(...known) : 0;
  }

  #replace(utterances, before) {
    this.#utterances = [...utterances];
    this.#before = before;
    this.#chosen = -1;
    this.words.clear();
    this.list.clear();
    this.list.add(utterances, this.words, before);
    this.detail.clear();
    this.#count();
  }

  #describe() {
    const { video, picture } = this.#job;
    byId("video-name").textContent = video;
    show(Boolean(picture), byId("film-legend"));
    const size = picture ? `${picture.width} × ${picture.height}` : "no picture";
    const length = this.#length ? clock(this.#length) : "";
    byId("video-facts").textContent = [length, size, several(this.#utterances.length, "utterance")]
      .filter(Boolean)
      .join(" · ");
  }

  #at(seconds) {
    const on = [];
    this.#utterances.forEach((one, number) => {
      if (isOn(one, seconds)) on.push(number);
    });
    this.list.at(on);
    this.timeline.at(seconds, this.player.playing);
    const follows = byId("follow").checked && this.player.playing && !this.detail.busy;
    if (follows && on.length && !on.includes(this.#chosen)) this.choose(on[0], false);
  }

  #edit(one, text) {
    this.words.set(one, text);
    this.#renewRows((other) => other.id === one.id);
    this.#count();
  }

  #undo() {
    const edited = this.#utterances.filter((one) => this.words.has(one));
    this.words.clear();
    this.#renewRows((one) => edited.includes(one));
    this.choose(this.#chosen, false);
    this.#count();
  }

  /** Write anew what depends on the switch for the model's numbers. */
  #renew() {
    if (this.#job?.summary) this.#sum();
    if (this.#chosen >= 0) this.choose(this.#chosen, false);
  }

  #sum() {
    showSummary(this.#job.summary, this.#about, this.#past, byId("numbers").checked);
  }

  #renewRows(concerns) {
    this.#utterances.forEach((one, number) => {
      if (concerns(one)) this.list.renew(number, one, this.words, this.#before);
    });
  }

  #count() {
    show(this.words.count > 0, byId("again"));
    byId("again-text").textContent = `Other words in ${several(this.words.count, "utterance")}.`;
  }

  #tellChanges(before) {
    show(Boolean(before), byId("changes"));
    if (!before) return;
    const scored = this.#utterances
      .map((one) => [this.#before.of(one), one])
      .filter(([old]) => old);
    const other = scored.filter(([old, one]) => decision(old) !== decision(one)).length;
    const what = other ? `The decision changed in ${other}.` : "No decision changed.";
    const changes = `Scored again: ${several(scored.length, "utterance")}. ${what}`;
    byId("changes").textContent = changes;
    byId("spoken").textContent = changes;
  }
}
