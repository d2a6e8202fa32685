// The chosen utterance. Owns its words and faces; leaves sentences, bars and terms to others.

import { byId, fill, make, show } from "./dom.js";
import { classBars, evidencePart } from "./evidence.js";
import { clock, several } from "./format.js";
import { decision, decisionLabel, MODALITIES, speakerName } from "./names.js";
import { ended } from "./notice.js";
import { ratingsTable } from "./ratings.js";
import { termsTable } from "./terms.js";
import * as phrases from "./phrases.js";

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
        text: "Choose an utterance to see its words, its faces and the evidence for each emotion.",
      }),
    );
  }

  /**
   * Show an utterance.
   *
   * `about` is of the server; `thresholds` are the run's; `most` is the end of the scale of terms;
   * `old` is the utterance before other words, or null; `editable` tells whether words may change;
   * `numbers` asks for the terms of the model in place of plain bars.
   */
  show(one, number, { about, most, words, old, editable, numbers }) {
    fill(
      this.box,
      heading(one, number, old),
      said(one, about),
      undecided(one, about),
      ...values(one, about, most, old, numbers),
      this.#words(one, words, old, editable && about.modalities.includes("t")),
      faces(one),
      ratingsTable(one.ratings, about.ratings, old?.ratings),
      // Without any modality, the reasons above are the same list.
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
      box.append(make("label", { class: "choice" }, unknown, " not known: score without words"));
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
  return { asr: "from the speech recogniser", transcript: "from the transcript" }[one.text_from] ?? "";
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
        speakerName(one.speaker),
      ]
        .filter(Boolean)
        .join(" · "),
    }),
    make(
      "p",
      { class: one.decided.length ? "verdict decided" : "verdict", data: { testid: "verdict" } },
      changed ? make("s", { class: "faint", text: decision(old) }) : null,
      changed ? " → " : null,
      decisionLabel(one),
    ),
  );
}

function said(one, about) {
  const tie = phrases.nearTie(one);
  return make(
    "div",
    { class: "said" },
    make("p", { class: "sentence", data: { testid: "sentence" }, text: phrases.sentence(one, about) }),
    tie ? make("p", { class: "hint", data: { testid: "tie" }, text: ended(tie) }) : null,
  );
}

/** Why nothing is decided, and what the user can do. */
function undecided(one, about) {
  const found = phrases.undecided(one, about);
  if (!found) return null;
  const list = (texts) =>
    make("ul", {}, ...texts.map((text) => make("li", { text: ended(capital(text)) })));
  return make(
    "div",
    { class: "undecided", data: { testid: "undecided" } },
    make("h4", { text: "Why it is not decided" }),
    list(found.why),
    make("h4", { text: "What you can do" }),
    list(found.what),
  );
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function values(one, about, most, old, numbers) {
  if (!one.top) return [];
  if (numbers) return [termsTable(one, about, most, old)];
  return [classBars(one, about, old), evidencePart(one, about, most)];
}

function faces(one) {
  const box = make("div", { class: "faces" });
  if (!one.faces_seen) return box;
  const count = `A face was found in ${one.faces_found} of ${several(one.faces_seen, "picture")}`;
  const without = several(one.faces_seen - one.faces_found, "picture");
  const told = !one.used.includes("v")
    ? `${count}. The face is not used.`
    : one.faces_found < one.faces_seen
      ? `${count}. In ${without} the centre of the picture is used instead.`
      : `${count}.`;
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
    make("li", { text: ended(`${MODALITIES[letter] ?? letter} not used: ${why}`) }),
  );
  return items.length
    ? make("ul", { class: "notes", data: { testid: "missing" } }, ...items)
    : null;
}
