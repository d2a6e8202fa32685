// The rows of a query, in pages. Owns asking for them: those in sight first, then those around.

import { get } from "./server.js";

const PAGE = 100;
// Pages that are asked for at once ahead of time, and most that are kept: those near the ones in sight.
const BLOCK = 5;
const KEPT = 600;
const MOST_LOADING = BLOCK + 2;
const REST_MS = 150;

export class Pages {
  /** `changed` is called when rows have come. */
  constructor(changed) {
    this.changed = changed;
    this.asked = new URLSearchParams();
    this.rows = new Map();
    this.loading = new Set();
    this.total = this.timer = this.here = 0;
  }

  /** Ask a new query; how many rows it has, or null if a newer query has overtaken it. */
  async ask(asked) {
    this.stop?.abort();
    const { signal } = (this.stop = new AbortController());
    try {
      const first = await get(this.address(asked, 0, 1), signal);
      if (signal.aborted) return null;
      this.asked = asked;
      this.total = first.total;
      this.rows = new Map([[0, first.rows]]);
      this.loading.clear();
      this.here = 0;
      this.ahead();
      return first.total;
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    }
  }

  /** A row, or undefined while it is on its way. */
  at(number) {
    return this.rows.get(Math.floor(number / PAGE))?.[number % PAGE];
  }

  /** Ask for the rows of a range that are not there; `changed` may ask again. */
  need(first, last) {
    this.here = Math.floor((first + last) / 2 / PAGE);
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) {
      const isOpen = !this.rows.has(page) && !this.loading.has(page);
      // What passes by is not asked for: its answers would hold up those of what is in sight.
      if (isOpen && this.loading.size < MOST_LOADING) this.load(page, 1);
    }
    this.soon();
  }

  refresh() {
    const shown = [this.here - 1, this.here, this.here + 1].filter((page) => this.rows.has(page));
    this.rows = new Map(shown.map((page) => [page, this.rows.get(page)]));
    for (const page of shown) this.load(page, 1);
    this.soon();
  }

  address(asked, page, count) {
    const address = new URLSearchParams(asked);
    address.set("offset", page * PAGE);
    address.set("limit", count * PAGE);
    return `v1/rows?${address}`;
  }

  async load(page, count) {
    const { asked } = this;
    const pages = Array.from({ length: count }, (_, n) => page + n);
    for (const one of pages) this.loading.add(one);
    // An error is not told: the next scroll asks again.
    const found = await get(this.address(asked, page, count), this.stop?.signal).catch(() => null);
    if (asked !== this.asked) return false;
    for (const [n, one] of pages.entries()) {
      this.loading.delete(one);
      if (found) this.rows.set(one, found.rows.slice(n * PAGE, (n + 1) * PAGE));
    }
    if (found) this.changed();
    return found !== null;
  }

  /** Load the pages around, after those in sight. */
  soon() {
    this.timer ||= setTimeout(() => this.ahead(), REST_MS);
  }

  async ahead() {
    this.timer = 0;
    const { asked } = this;
    if (this.working === asked) return;
    this.working = asked;
    let goesOn = true;
    while (goesOn && asked === this.asked) {
      const block = this.missing();
      goesOn = block !== null && (await this.load(block, BLOCK));
      this.forget();
    }
    if (this.working === asked) this.working = null;
  }

  /** The first page of the nearest block with a page that is not there; null if enough are. */
  missing() {
    const pages = Math.ceil(this.total / PAGE);
    for (let away = 0; away < Math.min(pages, KEPT / 2 - BLOCK); away += 1) {
      for (const page of [this.here + away, this.here - away]) {
        const isOpen = page >= 0 && page < pages && !this.rows.has(page) && !this.loading.has(page);
        if (isOpen) return page - (page % BLOCK);
      }
    }
    return null;
  }

  forget() {
    if (this.rows.size <= KEPT) return;
    const byDistance = [...this.rows.keys()].sort((a, b) => Math.abs(a - this.here) - Math.abs(b - this.here));
    for (const page of byDistance.slice(KEPT)) this.rows.delete(page);
  }
}
