// Names of emotions for people. Owns how a class, a decision and a list of words are written.

import { make } from "./dom.js";

/** The modalities of a model, in the order of the fusion. */
export const MODALITIES = { t: "words", v: "face", a: "voice" };
let names = {};

/** Take the names of the classes from the server: code -> name. */
export function setNames(given) {
  names = given;
}

/** The name of a class: `anger` for `ang`. */
export function nameOf(code) {
  return names[code] ?? code;
}

/** The name of a class with its code small beside it. */
export function label(code) {
  const name = nameOf(code);
  const small = name === code ? null : make("small", { class: "code", text: code });
  return make("span", { class: "class-name" }, name, small ? " " : null, small);
}

/** The name of a modality with its article: `the face`; words have one, too. */
export function the(letter) {
  return `the ${MODALITIES[letter] ?? letter}`;
}

/** A speaker in words: a view without its square and channel is the side of the picture. */
export function speakerName(speaker) {
  return { left: "the person on the left", right: "the person on the right" }[speaker] ?? speaker;
}

/** Words as a list: `a`, `a and b`, `a, b and c`. */
export function listed(words, last = "and") {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

/** The decision as text: names of classes, or the most probable one with a question mark. */
export function decision(one) {
  if (one.decided.length) return one.decided.map(nameOf).join(", ");
  return one.top && !one.undecided ? `not decided (${nameOf(one.top)}?)` : "not decided";
}

/** The decision with the codes of the classes. */
export function decisionLabel(one) {
  if (!one.decided.length) return make("span", { text: decision(one) });
  const box = make("span");
  one.decided.forEach((code, place) => box.append(place ? ", " : "", label(code)));
  return box;
}
