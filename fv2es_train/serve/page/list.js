// The list of utterances. Owns its rows and choosing among them; leaves the chosen one to `detail`.

import { byId, fill, make } from "./dom.js";
import { clock } from "./format.js";
import { decision, decisionLabel } from "./names.js";

/** The rows; `onChoose(number)` is called by clicks and keys. */
export class List {
  #rows = [];
  #chosen = -1;
  #now = new Set();

  constructor(onChoose) {
    this.onChoose = onChoose;
    this.box = byId("list");
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.onChoose(Number(row.dataset.number));
    });
  }

  /** Begin anew. */
  clear() {
    this.#rows = [];
    this.#chosen = -1;
    this.#now.clear();
    this.box.replaceChildren();
  }

  /** Add rows for utterances; `words` and `before` say what is different in them. */
  add(utterances, words, before) {
    const rows = utterances.map((one, place) => {
      const number = this.#rows.length + place;
      const row = make("div", {
        class: "row",
        role: "option",
        id: `row-${number}`,
        "aria-selected": "false",
        data: { number, testid: "row" },
      });
      write(row, one, number, words, before);
      return row;
    });
    this.#rows.push(...rows);
    this.box.append(...rows);
  }

  /** Write a row anew. */
  renew(number, one, words, before) {
    write(this.#rows[number], one, number, words, before);
  }

  /** Mark a row as the chosen one, and bring it into the list's window. */
  choose(number) {
    this.#rows[this.#chosen]?.setAttribute("aria-selected", "false");
    this.#chosen = number;
    const row = this.#rows[number];
    if (!row) return;
    row.setAttribute("aria-selected", "true");
    this.box.setAttribute("aria-activedescendant", row.id);
    // scrollIntoView would move the page too, away from the video.
    const [top, bottom] = [row.offsetTop, row.offsetTop + row.offsetHeight];
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (bottom > this.box.scrollTop + this.box.clientHeight)
      this.box.scrollTop = bottom - this.box.clientHeight;
  }

  /** Mark the rows that are on now. */
  at(numbers) {
    for (const number of this.#now)
      if (!numbers.includes(number)) this.#rows[number]?.classList.remove("on");
    for (const number of numbers) this.#rows[number]?.classList.add("on");
    this.#now = new Set(numbers);
  }

  #key(event) {
    const last = this.#rows.length - 1;
    const moves = {
      ArrowUp: this.#chosen - 1,
      ArrowDown: this.#chosen + 1,
      Home: 0,
      End: last,
      PageUp: this.#chosen - 10,
      PageDown: this.#chosen + 10,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.onChoose(Math.min(last, Math.max(0, moves[event.key])));
  }
}

function write(row, one, number, words, before) {
  const old = before?.of(one) ?? null;
  const text = words.of(one);
  const edited = words.has(one);
  row.classList.toggle("edited", edited);
  fill(
    row,
    make("span", { class: "number row-number", text: String(number + 1) }),
    make("span", { class: "number row-time", text: `${clock(one.start_s)}–${clock(one.end_s)}` }),
    make("span", { class: "row-speaker", text: one.speaker }),
    decided(one, old),
    make("span", { class: text ? "row-words" : "row-words faint", text: text || nothing(text) }),
    edited ? make("span", { class: "badge edited-badge", text: "edited" }) : sourceOf(one),
  );
}

function decided(one, old) {
  const box = make("span", { class: one.decided.length ? "row-decided" : "row-decided faint" });
  if (old && decision(old) !== decision(one)) {
    box.append(make("s", { class: "faint", text: decision(old) }), " → ");
    box.classList.add("changed");
  }
  box.append(decisionLabel(one));
  return box;
}

function sourceOf(one) {
  return one.text_from === "asr" ? make("span", { class: "badge", text: "heard" }) : null;
}

function nothing(text) {
  return text === "" ? "no words are spoken" : "words not known";
}
