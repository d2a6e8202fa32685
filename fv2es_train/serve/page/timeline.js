// The time line. Owns its window onto time, cursor, tip and keys; leaves what is drawn to `blocks`.

import { AXIS_PX, draw, GAP_PX } from "./blocks.js";
import { byId, make } from "./dom.js";
import { chance, clock, isOn } from "./format.js";
import { Lanes } from "./lanes.js";
import { decision, label, nameOf } from "./names.js";

const LANE_PX = 12;
const ROW_PX = 22;
const MOST_ZOOM_S = 4;
const TELL_MS = 500;

/**
 * Rows of blocks over time, drawn on a canvas as wide as the window onto them.
 *
 * `onSeek(seconds)` is called by clicks and keys, `onStep(±1)` by the keys for the next utterance.
 */
export class Timeline {
  #utterances = [];
  #classes = [];
  #length = 1;
  #zoom = 1;
  #seconds = 0;
  #chosen = null;
  #lanes = new Lanes([]);
  #due = 0;
  #toldAt = 0;

  constructor(onSeek, onStep) {
    Object.assign(this, { onSeek, onStep });
    this.names = make("div", { class: "names", "aria-hidden": true });
    this.canvas = make("canvas", { "aria-hidden": true });
    this.cursor = make("div", { class: "cursor" });
    this.tip = make("div", { class: "tip", hidden: true, data: { testid: "tip" } });
    this.strip = make("div", { class: "strip" }, this.canvas, this.cursor);
    this.window = make(
      "div",
      {
        class: "window",
        tabindex: 0,
        role: "slider",
        "aria-label": "Moment of the video",
        "aria-valuemin": 0,
        data: { testid: "slider" },
      },
      this.strip,
    );
    byId("timeline").append(this.names, this.window, this.tip);
    this.window.addEventListener("scroll", () => this.#redraw());
    this.window.addEventListener("click", (event) => this.onSeek(this.#secondsAt(event)));
    this.window.addEventListener("pointermove", (event) => this.#hover(event));
    this.window.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    this.window.addEventListener("blur", () => {
      this.tip.hidden = true;
    });
    this.window.addEventListener("keydown", (event) => this.#key(event));
    this.window.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    byId("zoom-in").addEventListener("click", () => this.zoom(2));
    byId("zoom-out").addEventListener("click", () => this.zoom(0.5));
    byId("zoom-all").addEventListener("click", () => this.zoom(0));
    new ResizeObserver(() => this.#redraw()).observe(this.window);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  /** Take the classes, and their thresholds if the run decides by them; the rest begins anew. */
  begin(classes, thresholds) {
    this.#classes = classes;
    this.thresholds = thresholds;
    this.#zoom = 1;
    this.tell([], 1);
  }

  /** Take the utterances and the length of the video. */
  tell(utterances, length) {
    this.#utterances = utterances;
    this.#length = Math.max(length || 0, ...utterances.slice(-8).map((one) => one.end_s), 0.1);
    this.#lanes = new Lanes(utterances);
    byId("lanes").textContent = this.#lanes.sentence;
    this.window.setAttribute("aria-valuemax", this.#length.toFixed(2));
    this.#nameRows();
    this.#redraw();
  }

  /** Mark an utterance as the chosen one. */
  choose(one) {
    this.#chosen = one;
    this.#bringIn(one.start_s * this.#scale, one.end_s * this.#scale);
    this.#redraw();
  }

  /** Put the cursor to a moment; while the video plays the window follows it. */
  at(seconds, following) {
    this.#seconds = seconds;
    const x = seconds * this.#scale;
    this.cursor.style.transform = `translateX(${x}px)`;
    if (following) this.#bringIn(x, x);
    // Sixty times a second would be too often to tell anybody.
    const now = performance.now();
    if (following && now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    this.window.setAttribute("aria-valuenow", seconds.toFixed(2));
    this.window.setAttribute("aria-valuetext", this.#spoken(seconds));
  }

  /** Show less time by a factor, around the cursor; 0 shows all. */
  zoom(factor) {
    const most = Math.max(1, this.#length / MOST_ZOOM_S);
    this.#zoom = factor === 0 ? 1 : Math.min(most, Math.max(1, this.#zoom * factor));
    this.#redraw();
    this.window.scrollLeft = this.#seconds * this.#scale - this.window.clientWidth / 2;
    this.at(this.#seconds, false);
  }

  get #scale() {
    return (this.window.clientWidth * this.#zoom) / this.#length;
  }

  get #rowPx() {
    return Math.max(ROW_PX, this.#lanes.count * LANE_PX);
  }

  #bringIn(left, right) {
    const { scrollLeft, clientWidth } = this.window;
    if (left < scrollLeft || right > scrollLeft + clientWidth) this.window.scrollLeft = left - 20;
  }

  #secondsAt(event) {
    const x = event.clientX - this.strip.getBoundingClientRect().left;
    return Math.min(this.#length, Math.max(0, x / this.#scale));
  }

  #spoken(seconds) {
    const on = this.#utterances
      .filter((one) => isOn(one, seconds))
      .map((one) => {
        const name = `utterance ${this.#utterances.indexOf(one) + 1} ${one.speaker}`.trim();
        return `${name}: ${decision(one)}. ${this.#values(one) || one.undecided || ""}`;
      });
    return `${clock(seconds)} of ${clock(this.#length)}. ${on.join(". ") || "nobody speaks"}`;
  }

  #key(event) {
    const page = this.window.clientWidth / this.#scale / 10;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: page, PageDown: -page };
    if (event.key in moves) this.onSeek(Math.min(this.#length, this.#seconds + moves[event.key]));
    else if (event.key === "ArrowUp" || event.key === "ArrowDown")
      this.onStep(event.key === "ArrowUp" ? -1 : 1);
    else if (event.key === "Home") this.onSeek(0);
    else if (event.key === "End") this.onSeek(this.#length);
    else return;
    event.preventDefault();
    const x = this.#seconds * this.#scale - this.window.scrollLeft + this.window.offsetLeft;
    this.#tell(this.#seconds, null, x, this.canvas.clientHeight);
  }

  #wheel(event) {
    if (!event.ctrlKey) return; // A plain wheel scrolls the page.
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? 1.25 : 0.8);
  }

  #hover(event) {
    const seconds = this.#secondsAt(event);
    const bounds = this.canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - bounds.top) / (this.#rowPx + GAP_PX));
    if (event.pointerType === "touch") return;
    const box = byId("timeline").getBoundingClientRect();
    this.#tell(
      seconds,
      this.#classes[row] ?? null,
      event.clientX - box.left,
      event.clientY - box.top,
    );
  }

  /** Tell the numbers of a class, or of all, at a moment in a tip beside a place. */
  #tell(seconds, name, x, y) {
    const on = this.#utterances.filter((one) => isOn(one, seconds));
    this.tip.hidden = on.length === 0;
    if (this.tip.hidden) return;
    this.tip.replaceChildren(...on.map((one) => this.#tipOf(one, name)));
    const left = Math.min(x + 14, byId("timeline").clientWidth - this.tip.offsetWidth - 4);
    this.tip.style.transform = `translate(${Math.max(0, left)}px, ${y + 16}px)`;
  }

  #tipOf(one, name) {
    const head = `${this.#utterances.indexOf(one) + 1}  ${clock(one.start_s)}–${clock(one.end_s)}  ${one.speaker}`;
    const value =
      name && name in one.probability
        ? [`${nameOf(name)} ${chance(one.probability[name])}`, this.#threshold(name, "needs over ")]
            .filter(Boolean)
            .join(", ")
        : [decision(one), this.#values(one)].filter(Boolean).join(": ");
    return make("p", {}, make("strong", { text: head.trim() }), make("span", { text: value }));
  }

  #values(one) {
    return this.#classes
      .filter((name) => name in one.probability)
      .map((name) => `${nameOf(name)} ${chance(one.probability[name])}`)
      .join(", ");
  }

  /** The threshold of a class behind a sign; empty if the run has none. */
  #threshold(name, sign) {
    return name in this.thresholds ? `${sign}${chance(this.thresholds[name])}` : "";
  }

  #nameRows() {
    const rows = this.#classes.map((name) =>
      make(
        "div",
        { class: "name" },
        label(name),
        make("span", { class: "threshold", text: this.#threshold(name, "> ") }),
      ),
    );
    rows.push(make("div", { class: "name" }, make("span", { text: "speech" })));
    for (const row of rows) row.style.height = `${this.#rowPx}px`;
    this.names.style.gap = `${GAP_PX}px`;
    this.names.replaceChildren(...rows);
  }

  #redraw() {
    cancelAnimationFrame(this.#due);
    this.#due = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const width = this.window.clientWidth;
    if (!width) return;
    const height = (this.#classes.length + 1) * (this.#rowPx + GAP_PX) + AXIS_PX;
    const ratio = window.devicePixelRatio || 1;
    this.strip.style.width = `${width * this.#zoom}px`;
    this.cursor.style.height = `${height - AXIS_PX}px`;
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(pen, {
      utterances: this.#utterances,
      chosen: this.#chosen,
      classes: this.#classes,
      lanes: this.#lanes,
      rowPx: this.#rowPx,
      from: this.window.scrollLeft,
      scale: this.#scale,
      length: this.#length,
      width,
      height,
    });
    this.at(this.#seconds, false);
  }
}
