// A list of any number of rows of which only those in sight are elements. Owns pages and selection.

import { make } from "../page/dom.js";
import { get } from "./server.js";

const PAGE = 100;
const LINE = { row: 48, grid: 122 };
const CELL = 112;
// Lines that are made above and below those in sight.
const MORE = 6;

export class List {
  constructor(view, room, choose) {
    Object.assign(this, { view, room, choose });
    this.total = 0;
    this.pages = new Map();
    this.made = new Map();
    this.selected = -1;
    this.grid = false;
    this.asked = new URLSearchParams();
    view.addEventListener("scroll", () => this.draw(), { passive: true });
    view.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.lay()).observe(view);
  }

  /** Show the rows of a query; how many there are, or null if a newer query has overtaken it. */
  async ask(asked) {
    this.stop?.abort();
    this.stop = new AbortController();
    const { signal } = this.stop;
    const first = await get(`v1/rows?${this.address(asked, 0)}`, signal).catch((error) => {
      if (signal.aborted) return null;
      throw error;
    });
    if (first === null) return null;
    this.asked = asked;
    this.total = first.total;
    this.pages = new Map([[0, first.rows]]);
    this.selected = -1;
    this.view.scrollTop = 0;
    this.lay();
    return this.total;
  }

  /** Read the rows in sight again, e.g. after a mark. */
  refresh() {
    this.pages.clear();
    this.draw();
  }

  setGrid(grid) {
    this.grid = grid;
    this.view.classList.toggle("grid", grid);
    this.lay();
  }

  address(asked, page) {
    const address = new URLSearchParams(asked);
    address.set("offset", page * PAGE);
    address.set("limit", PAGE);
    return address;
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
        element.remove();
        this.made.delete(number);
      }
    }
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) {
      if (!this.pages.has(page)) this.load(page);
    }
    for (let number = first; number < last; number += 1) {
      const row = this.pages.get(Math.floor(number / PAGE))?.[number % PAGE];
      const old = this.made.get(number);
      if (old && (old.row === row || !row)) continue;
      old?.remove();
      const element = this.element(number, row);
      element.row = row;
      this.made.set(number, element);
      this.room.append(element);
    }
    this.view.setAttribute("aria-activedescendant", this.made.has(this.selected) ? `row-${this.selected}` : "");
  }

  async load(page) {
    this.pages.set(page, []);
    const asked = this.asked;
    try {
      const { rows } = await get(`v1/rows?${this.address(asked, page)}`, this.stop?.signal);
      if (asked !== this.asked) return;
      this.pages.set(page, rows);
      this.draw();
    } catch {
      // The next scroll asks again.
      this.pages.delete(page);
    }
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
      ? make("img", { src: `v1/face.png?id=${encodeURIComponent(row.id)}`, alt: "", loading: "lazy", width: 40, height: 40 })
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
    const row = this.pages.get(Math.floor(number / PAGE))?.[number % PAGE];
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
