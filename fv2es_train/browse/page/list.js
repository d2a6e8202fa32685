// A list of any number of rows of which only those in sight are elements. Owns selection.

import { make } from "../page/dom.js";
import { Pages } from "./pages.js";

const LINE = { row: 48, grid: 122 };
const CELL = 112;
// Lines that are made above and below those in sight.
const MORE = 6;
// A row that passes by asks for no picture: those would hold up the rows.
const PICTURE_MS = 80;

export class List {
  constructor(view, room, choose) {
    Object.assign(this, { view, room, choose });
    this.total = 0;
    this.pages = new Pages(() => this.draw());
    this.made = new Map();
    this.selected = -1;
    this.grid = false;
    this.timer = 0;
    view.addEventListener("scroll", () => this.draw(), { passive: true });
    view.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.lay()).observe(view);
  }

  /** Show the rows of a query; how many there are, or null if a newer query has overtaken it. */
  async ask(asked) {
    const total = await this.pages.ask(asked);
    if (total === null) return null;
    this.total = total;
    this.selected = -1;
    this.view.scrollTop = 0;
    this.lay();
    return this.total;
  }

  /** Read the rows again, e.g. after a mark; those in sight stay until they are there. */
  refresh() {
    this.pages.refresh();
    this.draw();
  }

  setGrid(grid) {
    this.grid = grid;
    this.view.classList.toggle("grid", grid);
    this.lay();
  }

  lay() {
    this.across = this.grid ? Math.max(1, Math.floor(this.view.clientWidth / CELL)) : 1;
    this.line = this.grid ? LINE.grid : LINE.row;
    this.room.style.height = `${Math.ceil(this.total / this.across) * this.line}px`;
    for (const element of this.made.values()) element.remove();
    this.made.clear();
    this.draw();
  }

  draw() {
    const top = Math.floor(this.view.scrollTop / this.line) - MORE;
    const bottom = Math.ceil((this.view.scrollTop + this.view.clientHeight) / this.line) + MORE;
    const first = Math.max(0, top * this.across);
    const last = Math.min(this.total, bottom * this.across);
    for (const [number, element] of this.made) {
      if (number < first || number >= last) {
        // What is still loading of its picture is no longer needed.
        element.querySelector("img")?.removeAttribute("src");
        element.remove();
        this.made.delete(number);
      }
    }
    this.pages.need(first, last);
    for (let number = first; number < last; number += 1) {
      const row = this.pages.at(number);
      const old = this.made.get(number);
      if (old && (old.row === row || !row)) continue;
      old?.remove();
      const element = this.element(number, row);
      element.row = row;
      this.made.set(number, element);
      this.room.append(element);
    }
    if (this.made.has(this.selected)) this.view.setAttribute("aria-activedescendant", `row-${this.selected}`);
    else this.view.removeAttribute("aria-activedescendant");
    this.timer ||= setTimeout(() => this.showPictures(), PICTURE_MS);
  }

  /** Ask for the pictures of rows that have been there for a while. */
  showPictures() {
    this.timer = 0;
    const now = performance.now();
    let young = false;
    for (const element of this.made.values()) {
      const picture = element.querySelector("img[data-src]");
      if (!picture) continue;
      if (now - element.madeAt < PICTURE_MS) {
        young = true;
        continue;
      }
      picture.src = picture.dataset.src;
      delete picture.dataset.src;
    }
    if (young) this.timer = setTimeout(() => this.showPictures(), PICTURE_MS);
  }

  element(number, row) {
    const place = { top: Math.floor(number / this.across) * this.line, left: (number % this.across) * CELL };
    const element = make("div", {
      class: row?.reason ? "row out" : "row",
      id: `row-${number}`,
      role: "option",
      "aria-selected": String(number === this.selected),
      "aria-setsize": this.total,
      "aria-posinset": number + 1,
      data: { testid: "row" },
    }, ...(row ? this.cells(row) : []));
    element.madeAt = performance.now();
    element.style.top = `${place.top}px`;
    element.style.height = `${this.line}px`;
    if (this.grid) {
      element.style.left = `${place.left}px`;
      element.style.width = `${CELL}px`;
    }
    element.addEventListener("click", () => this.select(number, true));
    return element;
  }

  cells(row) {
    const marks = [...row.marks, ...(row.note ? ["note"] : [])].join(", ");
    if (row.reason) {
      return [
        make("span", { class: "none" }),
        make("span", { class: "id", text: row.id }),
        make("span", { class: "wide", text: row.sentence ?? "" }),
        make("span", { class: "wide", text: row.reason.replaceAll("_", " ") }),
        make("span", { class: "right", text: "out" }),
        make("span", { class: "wide wrong", text: marks }),
      ];
    }
    const picture = row.pictures
      ? make("img", { data: { src: `v1/face.png?id=${encodeURIComponent(row.id)}` }, alt: "", width: 40, height: 40 })
      : make("span", { class: "none" });
    const wrong = Object.values(row.scores).filter((score) => !score.right);
    const told = wrong.length ? `${row.labels.join("+")} (${wrong[0].predicted.join("+") || "none"})` : row.labels.join("+");
    return [
      picture,
      make("span", { class: "id", text: row.id }),
      make("span", { class: "words", text: row.text || "(no words)" }),
      make("span", { class: wrong.length ? "wide wrong" : "wide", text: told }),
      make("span", { class: "right number", text: `${row.seconds.toFixed(1)} s` }),
      make("span", { class: "wide wrong", text: marks }),
    ];
  }

  select(number, choose) {
    if (number < 0 || number >= this.total) return;
    this.made.get(this.selected)?.setAttribute("aria-selected", "false");
    this.selected = number;
    this.made.get(number)?.setAttribute("aria-selected", "true");
    const top = Math.floor(number / this.across) * this.line;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    const low = top + this.line - this.view.clientHeight;
    if (low > this.view.scrollTop) this.view.scrollTop = low;
    this.draw();
    const row = this.pages.at(number);
    if (choose && row) this.choose(row);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.view.clientHeight / this.line) - 1) * this.across;
    const steps = {
      ArrowDown: this.across, ArrowUp: -this.across, PageDown: page, PageUp: -page,
      ...(this.grid ? { ArrowRight: 1, ArrowLeft: -1 } : {}),
    };
    if (event.key in steps) {
      event.preventDefault();
      const to = this.selected < 0 ? 0 : this.selected + steps[event.key];
      this.select(Math.min(Math.max(to, 0), this.total - 1), false);
    } else if (event.key === "Enter" && this.selected >= 0) {
      event.preventDefault();
      this.select(this.selected, true);
    } else if (event.key === "Home" || event.key === "End") {
      event.preventDefault();
      this.select(event.key === "Home" ? 0 : this.total - 1, false);
    }
  }
}
