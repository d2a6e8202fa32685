// One utterance: what it is, what it looks and sounds like, its neighbours, and its marks.

import { fill, make, show } from "../page/dom.js";
import { Player } from "./player.js";
import { get, put } from "./server.js";

const VOTES = "votes_";

export class Detail {
  constructor(place, open, marked) {
    Object.assign(this, { place, openOther: open, marked });
    this.marks = {};
    document.addEventListener("keydown", (event) => this.key(event));
  }

  async open(id) {
    this.before ??= document.activeElement;
    const name = encodeURIComponent(id);
    const value = await get(`v1/utterance?id=${name}`);
    this.player?.stop();
    this.id = id;
    this.player = new Player(id, value.playing);
    const about = value.reason
      ? [make("p", { text: `Left out: ${value.sentence ?? ""} (${value.reason.replaceAll("_", " ")}).` })]
      : [
        make("p", { class: "words", text: value.text || "(no words)" }),
        this.facts(value),
        make("img", { src: `v1/picture.png?id=${name}`, alt: `Faces, spectrum and words of ${id}`, data: { testid: "picture" } }),
      ];
    const around = value.neighbours ?? [];
    fill(
      this.place,
      this.closing(),
      make("h2", { text: id, tabindex: "-1" }),
      ...about,
      this.player.element,
      this.form(value),
      ...(around.length ? [
        make("h3", { text: "In the recording" }),
        make("ul", { class: "around" }, ...around.map((row) => this.neighbour(row))),
      ] : []),
    );
    show(true, this.place);
    this.place.scrollTop = 0;
    this.place.querySelector("h2").focus();
  }

  close() {
    this.player?.stop();
    show(false, this.place);
    this.before?.focus();
    this.before = undefined;
    this.id = null;
  }

  closing() {
    const button = make("button", { class: "small close", type: "button", text: "Close", data: { testid: "close" } });
    button.addEventListener("click", () => this.close());
    return button;
  }

  facts(value) {
    const lines = [
      ["classes", value.labels.join(", ")],
      ["speaker", value.speaker],
      ["session", value.session],
      ["subset", value.subset],
      ["span", `${value.start_s.toFixed(2)} to ${value.end_s.toFixed(2)} s of ${value.recording_id}`],
      ["ratings", this.rated(value.ratings, (name) => !name.startsWith(VOTES))],
      ["raters", this.rated(value.ratings, (name, rated) => name.startsWith(VOTES) && rated > 0)],
      ["missing", Object.entries(value.missing ?? {}).map(([name, why]) => `${name} (${why})`).join(", ")],
      ...Object.entries(value.scores).map(([run, score]) => [
        run,
        `${score.predicted.join(", ") || "no class"} (${score.right ? "right" : "wrong"}, ${score.subset}): ` +
          Object.entries(score.probability).map(([name, share]) => `${name} ${(100 * share).toFixed(0)} %`).join(", "),
      ]),
    ];
    const shown = lines.filter(([, text]) => text);
    return make("dl", {}, ...shown.flatMap(([name, text]) => [make("dt", { text: name }), make("dd", { text })]));
  }

  rated(ratings, isShown) {
    const shown = Object.entries(ratings).filter(([name, rated]) => rated !== null && isShown(name, rated));
    return shown.map(([name, rated]) => `${name.replace(VOTES, "")} ${+rated.toFixed(2)}`).join(", ");
  }

  form(value) {
    const boxes = Object.entries(this.marks).map(([mark, meaning], place) => {
      const box = make("input", { type: "checkbox", name: mark, checked: value.marks.includes(mark), data: { testid: `mark-${mark}` } });
      return make("label", { class: "choice" }, box, `${meaning} (${place + 1})`);
    });
    const note = make("textarea", { rows: 2, maxlength: 2000, text: value.note, data: { testid: "note" } });
    const said = make("p", { class: "hint", role: "status", data: { testid: "saved" } });
    this.boxes = boxes.map((label) => label.querySelector("input"));
    const form = make("form", {}, make("fieldset", { class: "marks" }, make("legend", { text: "Marks" }), ...boxes), make("label", {}, "Note ", note), said);
    const { id } = this;
    form.addEventListener("change", async () => {
      try {
        const marks = this.boxes.filter((box) => box.checked).map((box) => box.name);
        await put("v1/marks", { id, marks, note: note.value });
        said.textContent = "Saved in review.jsonl.";
        this.marked();
      } catch (error) {
        said.textContent = `Not saved: ${error.message}`;
      }
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    return form;
  }

  neighbour(row) {
    const button = make("button", { type: "button", class: "small", "aria-current": row.this ? "true" : null, text: `${row.id}: ${row.text || "(no words)"}` });
    button.addEventListener("click", () => this.openOther(row.id));
    return make("li", {}, button);
  }

  key(event) {
    if (this.place.hidden) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    } else if (this.id && !event.target.matches("input:not([type=checkbox]), textarea, select")) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^[1-9]$/.test(event.key)) this.boxes[Number(event.key) - 1]?.click();
      if (event.key === "p") this.player.toggle();
    }
  }
}
