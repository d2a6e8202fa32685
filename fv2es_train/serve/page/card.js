// What the run is. Owns the head and the foot of the page and the section "About this model".

import { byId, fill, make } from "./dom.js";
import { duration, percent } from "./format.js";
import { label, listed, MODALITIES, nameOf } from "./names.js";
import { ended } from "./notice.js";

const MEASURES = {
  "single_label.accuracy": "Accuracy: the most probable emotion is the right one",
  balanced_accuracy: "Balanced accuracy, mean over the emotions (guessing: 50 %)",
  f1_binary: "F1, mean over the emotions",
  auc: "Area under the ROC curve, mean over the emotions (guessing: 50 %)",
};

/** Describe the run everywhere on the page. */
export function describe(about) {
  document.title = `fv2es: ${about.run}`;
  fill(
    byId("run"),
    make("span", {}, "run ", make("strong", { text: about.run })),
    make("span", { text: about.model }),
  );
  byId("version").textContent = `fv2es ${about.version}`;
  byId("when-decided").textContent =
    about.rule === "largest" ? "the most probable emotion" : "above its threshold";
  byId("rule").textContent =
    about.rule === "largest"
      ? "The most probable emotion is decided; its probability says how sure that is."
      : "An emotion is decided if its probability is above its threshold, which the run stores.";
  fill(byId("card-body"), ...parts(about));
}

function parts(about) {
  const { card } = about;
  return [
    make("h3", { text: "What it does" }),
    make("p", { text: task(about) }),
    make("ul", { class: "emotions" }, ...about.classes.map((name) => make("li", {}, label(name)))),
    make("h3", { text: "What it learned from" }),
    make("p", { data: { testid: "trained" }, text: ended(about.trained_on) }),
    make("h3", { text: "How good it is" }),
    ...scores(card),
    make("h3", { text: "What it must not be used for" }),
    make("ul", { data: { testid: "not-for" } }, ...card.limits.map((text) => make("li", { text: ended(text) }))),
    make("h3", { text: "This server" }),
    make("p", { text: server(about) }),
  ];
}

function task(about) {
  const reads = listed([...about.modalities].map((letter) => MODALITIES[letter]));
  return `For each utterance it reads ${reads} and gives a probability for each of these emotions:`;
}

function scores(card) {
  if (!card.subset) return [make("p", { text: "This run has no scores: nobody has measured it." })];
  const optimistic =
    card.subset === "valid" ? " Settings of the run were chosen on them: the scores are too good." : "";
  const text =
    `Measured on ${card.utterances} utterances (${card.subset}).${optimistic} ` +
    "The interval shows how much a score varies with the choice of these utterances. Utterances of " +
    "one recording resemble each other, so the true interval is wider.";
  const measures = card.scores.map(({ name, value, low, high }) =>
    make(
      "tr",
      { data: { testid: `score-${name}` } },
      make("th", { scope: "row", text: MEASURES[name] ?? name }),
      make("td", { class: "number", text: percent(value) }),
      make("td", { class: "number", text: low === null ? "–" : `${percent(low)} to ${percent(high)}` }),
    ),
  );
  const classes = card.classes.map((one) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, label(one.name)),
      make("td", { class: "number", text: String(one.utterances) }),
      make("td", { class: "number", text: one.recall === null ? "–" : percent(one.recall) }),
      make("td", { class: "number", text: one.precision === null ? "–" : percent(one.precision) }),
    ),
  );
  return [
    make("p", { text }),
    table(["score", "value", `${Math.round(100 * card.level)} % interval`], measures),
    make("p", {
      class: "hint",
      text:
        "Found: the share of the utterances with an emotion for which the run decides it (recall). " +
        "Right: the share of its decisions that are right (precision).",
    }),
    table(["emotion", "count", "found", "right"], classes),
  ];
}

function table(head, rows) {
  const cells = head.map((text, place) =>
    make("th", { scope: "col", class: place ? "number" : "", text }),
  );
  return make(
    "table",
    { class: "card-table" },
    make("thead", {}, make("tr", {}, ...cells)),
    make("tbody", {}, ...rows),
  );
}

function server(about) {
  const words = !about.modalities.includes("t")
    ? "The model does not use words."
    : about.recogniser
      ? `Without a transcript, the speech recogniser ${about.recogniser} writes the words.`
      : "There is no speech recogniser: without a transcript, words are not used.";
  const kept = duration(about.limits.keep_s);
  return (
    `${words} The server deletes a video when it is scored, and its results after ${kept}. ` +
    `The most probable emotion of an utterance is not what a person feels: the model predicts how ` +
    `people would label the utterance as ${listed(about.classes.map(nameOf), "or")}.`
  );
}
