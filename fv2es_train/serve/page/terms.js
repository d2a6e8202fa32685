// What each modality gave to each class. Owns the table of the terms, their sum and the probability.

import { probabilityBar, termBars } from "./bars.js";
import { make } from "./dom.js";
import { probability, term } from "./format.js";
import { label, MODALITIES } from "./names.js";

/**
 * The table of an utterance: a row for each class.
 *
 * `most` is the end of the scale; `old` is the utterance before other words, or null.
 */
export function termsTable(one, about, most, old) {
  const letters = [...about.modalities];
  const used = letters.filter((letter) => one.used.includes(letter));
  const body = make("tbody");
  for (const name of about.classes)
    body.append(row(one, name, letters, used, most, about.thresholds[name] ?? null, old));
  const head = make(
    "tr",
    {},
    make("th", { scope: "col", text: "emotion" }),
    make("th", { scope: "col", class: "scale" }, scale(most)),
    ...letters.map((letter) =>
      make(
        "th",
        { scope: "col", class: "number" },
        make("span", { class: `key term-${letter}` }),
        MODALITIES[letter],
      ),
    ),
    make("th", { scope: "col", class: "number" }, make("span", { class: "key sum" }), "sum"),
    make("th", { scope: "col", class: "number", colspan: 2, text: "probability" }),
  );
  return make(
    "table",
    { class: "terms-table", data: { testid: "terms" } },
    make("caption", { text: "Terms of the logit: what each modality adds. Their sum becomes the probability." }),
    make("thead", {}, head),
    body,
  );
}

function row(one, name, letters, used, most, threshold, old) {
  const terms = Object.fromEntries(used.map((letter) => [letter, one.contribution[name][letter]]));
  const sum = Object.values(terms).reduce((all, value) => all + value, 0);
  const isDecided = one.decided.includes(name);
  const was = old?.probability?.[name] ?? null;
  const value = make("td", {
    class: "number",
    data: { testid: `p-${name}` },
    text: probability(one.probability[name]),
  });
  if (was !== null) value.append(make("span", { class: "was", text: ` was ${probability(was)}` }));
  return make(
    "tr",
    { class: isDecided ? "decided" : "", data: { testid: `terms-${name}` } },
    make("th", { scope: "row" }, label(name)),
    make("td", { class: "wide" }, termBars(terms, most)),
    ...letters.map((letter) =>
      make("td", {
        class: "number",
        data: { letter },
        text: letter in terms ? term(terms[letter]) : "–",
      }),
    ),
    make("td", { class: "number sum-cell", text: term(sum) }),
    make(
      "td",
      { class: "p-bar" },
      probabilityBar(one.probability[name], threshold, isDecided, was),
    ),
    value,
  );
}

function scale(most) {
  return make(
    "span",
    { class: "scale-ends", "aria-hidden": true },
    make("span", { text: `−${most}` }),
    make("span", { text: "0" }),
    make("span", { text: `+${most}` }),
  );
}
