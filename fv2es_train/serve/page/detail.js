// The chosen utterance. Owns its words and faces; leaves what each modality gave to `terms`.

import { byId, fill, make, show } from "./dom.js";
import { clock, decision, MODALITIES, several } from "./format.js";
import { ended } from "./notice.js";
import { ratingsTable } from "./ratings.js";
import { termsTable } from "./terms.js";

/** The panel; `onWords(one, text)` is called with each change of the words. */
export class Detail {
  constructor(onWords) {
    this.onWords = onWords;
    this.box = byId("detail");
  }

  /** Whether somebody writes in it. */
  get busy() {
    return this.box.contains(document.activeElement) && document.activeElement.matches("textarea");
  }

  /** Say that no utterance is chosen. */
  clear() {
    this.box.replaceChildren(
      make("p", {
        class: "hint",
        text: "Choose an utterance to see its words, its faces and what each modality gave.",
      }),
    );
  }

  /**
   * Show an utterance.
   *
   * `about` is of the server; `thresholds` are the run's; `most` is the end of the scale of terms;
   * `old` is the utterance before other words, or null; `editable` tells whether words may change.
   */
  show(one, number, { about, most, words, old, editable }) {
    fill(
      this.box,
      heading(one, number, old),
      undecided(one),
      this.#words(one, words, old, editable && about.modalities.includes("t")),
      faces(one),
      one.top ? termsTable(one, about, most, old) : null,
      ratingsTable(one.ratings, about.ratings, old?.ratings),
      // Without any modality, why nothing is decided is the same list.
      one.used ? missing(one) : null,
    );
  }

  #words(one, words, old, editable) {
    const text = words.of(one);
    const field = make("textarea", {
      id: "words",
      rows: 2,
      data: { testid: "words" },
      readonly: !editable,
    });
    field.value = text ?? "";
    const unknown = make("input", { type: "checkbox", data: { testid: "unknown" } });
    unknown.checked = text === null;
    const state = make("span", { class: "badge", data: { testid: "words-state" } });
    const renew = () => {
      state.textContent = words.has(one) ? "edited, not scored yet" : source(one);
      state.classList.toggle("edited-badge", words.has(one));
      show(Boolean(state.textContent), state);
    };
    field.addEventListener("input", () => {
      // Emptying a field that was empty from the beginning says nothing about the words.
      unknown.checked = field.value === "" && one.text === null;
      this.onWords(one, unknown.checked ? null : field.value);
      renew();
    });
    unknown.addEventListener("change", () => {
      this.onWords(one, unknown.checked ? null : field.value);
      renew();
    });
    renew();
    const box = make(
      "div",
      { class: "words" },
      make("div", { class: "line" }, make("label", { for: "words", text: "Words" }), state),
      field,
    );
    if (editable)
      box.append(make("label", { class: "choice" }, unknown, " not known: leave words out"));
    if (old && old.text !== one.text) {
      box.append(
        make("p", {
          class: "hint",
          text: `Before: ${old.text === null ? "not known" : `“${old.text}”`}`,
        }),
      );
    }
    return box;
  }
}

function source(one) {
  return { asr: "heard", transcript: "transcript" }[one.text_from] ?? "";
}

function heading(one, number, old) {
  const changed = old && decision(old) !== decision(one);
  return make(
    "div",
    { class: "title-line" },
    make("h3", { text: `Utterance ${number + 1}` }),
    make("p", {
      class: "hint number",
      text: [
        `${clock(one.start_s, 2)}–${clock(one.end_s, 2)}`,
        `${(one.end_s - one.start_s).toFixed(2)} s`,
        one.speaker,
      ]
        .filter(Boolean)
        .join(" · "),
    }),
    make(
      "p",
      { class: one.decided.length ? "verdict decided" : "verdict", data: { testid: "verdict" } },
      changed ? make("s", { class: "faint", text: decision(old) }) : null,
      changed ? " → " : null,
      make("span", { text: decision(one) }),
    ),
  );
}

function undecided(one) {
  if (!one.undecided) return null;
  const text = ended(`not decided: ${one.undecided}`);
  return make("p", { class: "hint", data: { testid: "undecided" }, text });
}

function faces(one) {
  const box = make("div", { class: "faces" });
  if (!one.faces_seen) return box;
  const count = `faces ${one.faces_found}/${one.faces_seen}`;
  const without = several(one.faces_seen - one.faces_found, "picture");
  const told = !one.used.includes("v")
    ? `${count}: video is left out`
    : one.faces_found < one.faces_seen
      ? `${count}: in ${without} the centre of the view is used`
      : count;
  box.append(make("p", { class: "number", data: { testid: "faces" }, text: told }));
  const row = make("div", { class: "face-row" });
  one.faces.forEach((address, place) => {
    // Only what is in the answer itself: nothing is fetched for a picture.
    if (address.startsWith("data:image/"))
      row.append(
        make("img", {
          src: address,
          alt: `Face ${place + 1} that the model saw`,
          width: 56,
          height: 56,
        }),
      );
  });
  box.append(row);
  return box;
}

function missing(one) {
  const items = Object.entries(one.missing).map(([letter, why]) =>
    make("li", { text: ended(`${MODALITIES[letter] ?? letter} left out: ${why}`) }),
  );
  return items.length
    ? make("ul", { class: "notes", data: { testid: "missing" } }, ...items)
    : null;
}
