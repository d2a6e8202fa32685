// Small horizontal bars. Owns how lengths become places; every bar has its number beside it.

import { make } from "./dom.js";

/** A bar of a probability; a tick at the threshold if there is one, and at what it was before. */
export function probabilityBar(value, threshold, isDecided, was = null) {
  const fill = make("span", { class: isDecided ? "fill decided" : "fill" });
  fill.style.width = `${100 * value}%`;
  const bar = make(
    "span",
    { class: "bar", "aria-hidden": true },
    fill,
  );
  if (threshold !== null) bar.append(tick("threshold-tick", threshold));
  if (was !== null) bar.append(tick("was-tick", was));
  return bar;
}

/** Bars of signed terms on both sides of zero, one under the other, and a tick at their sum. */
export function termBars(terms, most) {
  const box = make("span", { class: "terms", "aria-hidden": true });
  for (const [letter, value] of Object.entries(terms)) {
    const part = make("span", { class: `term term-${letter}` });
    part.style.left = `${50 * (1 + Math.min(0, value) / most)}%`;
    part.style.width = `${(50 * Math.abs(value)) / most}%`;
    box.append(make("span", { class: "term-lane" }, part));
  }
  const sum = Object.values(terms).reduce((all, value) => all + value, 0);
  box.append(
    tick("zero-tick", 0.5),
    tick("sum-tick", Math.min(1, Math.max(0, 0.5 * (1 + sum / most)))),
  );
  return box;
}

/** A bar of evidence: to the right of the middle if it speaks for a class, else to the left. */
export function evidenceBar(value, most) {
  const half = 50 * Math.min(1, Math.abs(value) / most);
  const part = make("span", { class: value < 0 ? "side against" : "side" });
  part.style.left = `${value < 0 ? 50 - half : 50}%`;
  part.style.width = `${half}%`;
  const box = make("span", { class: "bar sides", "aria-hidden": true }, part);
  box.append(tick("zero-tick", 0.5));
  return box;
}

/** The end of a scale on which all terms and sums of these utterances have a place. */
export function scaleOf(utterances) {
  let most = 1;
  for (const one of utterances) {
    for (const terms of Object.values(one.contribution)) {
      const values = Object.values(terms);
      most = Math.max(
        most,
        Math.abs(values.reduce((all, value) => all + value, 0)),
        ...values.map(Math.abs),
      );
    }
  }
  return Math.ceil(most);
}

function tick(name, share) {
  const mark = make("span", { class: name });
  mark.style.left = `${100 * share}%`;
  return mark;
}
