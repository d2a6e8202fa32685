// An utterance in plain form. Owns the bars of its classes and of the evidence for one of them.

import { evidenceBar, probabilityBar } from "./bars.js";
import { fill, make } from "./dom.js";
import { chance } from "./format.js";
import { label, MODALITIES, nameOf } from "./names.js";
import { evidence } from "./phrases.js";

/** The probability of each class as a bar; `old` is the utterance before other words, or null. */
export function classBars(one, about, old) {
  const rows = about.classes.map((name) => {
    const isDecided = one.decided.includes(name);
    const was = old?.probability?.[name] ?? null;
    const now = chance(one.probability[name]);
    const value = make("td", { class: "number", data: { testid: `chance-${name}` }, text: now });
    if (was !== null && chance(was) !== now)
      value.append(make("span", { class: "was", text: ` was ${chance(was)}` }));
    const bar = probabilityBar(one.probability[name], limitOf(about, name), isDecided, was);
    return make(
      "tr",
      { class: isDecided ? "decided" : "" },
      make("th", { scope: "row" }, label(name)),
      make("td", { class: "wide" }, bar),
      value,
    );
  });
  return make(
    "table",
    { class: "plain-table", data: { testid: "chances" } },
    make("caption", { text: `How probable each emotion is.${legend(about)}` }),
    make("tbody", {}, ...rows),
  );
}

/** What the marks in the bars mean. */
export function legend(about) {
  return about.rule === "largest"
    ? ""
    : " The line in a bar is the threshold: above it the emotion is decided. Several can hold at once.";
}

function limitOf(about, name) {
  return about.rule === "largest" ? null : (about.thresholds[name] ?? null);
}

/** What each modality says of a class that can be chosen; `most` is the end of the scale. */
export function evidencePart(one, about, most) {
  const choice = make(
    "select",
    { id: "evidence-of", data: { testid: "evidence-of" } },
    ...about.classes.map((name) => make("option", { value: name, text: nameOf(name) })),
  );
  choice.value = one.decided.includes(one.top) || !one.decided.length ? one.top : one.decided[0];
  const body = make("tbody");
  const renew = () => fill(body, ...evidence(one, choice.value, about).map((each) => row(each, most)));
  choice.addEventListener("change", renew);
  renew();
  return make(
    "div",
    { class: "evidence" },
    make("p", { class: "line" }, make("label", { for: "evidence-of", text: "Evidence for" }), choice),
    make(
      "table",
      { class: "plain-table", data: { testid: "evidence" } },
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          make("th", { scope: "col", text: "from" }),
          make(
            "th",
            { scope: "col", class: "wide" },
            make("span", { class: "scale-ends" }, make("span", { text: "against" }), make("span", { text: "for" })),
          ),
          make("th", { scope: "col", class: "number", text: "it speaks" }),
        ),
      ),
      body,
    ),
  );
}

function row({ letter, value, kind }, most) {
  return make(
    "tr",
    { data: { testid: `evidence-${letter}` } },
    make("th", { scope: "row", text: MODALITIES[letter] }),
    make("td", { class: "wide" }, kind === "not used" ? null : evidenceBar(value, most)),
    make("td", { class: "number", text: kind }),
  );
}
