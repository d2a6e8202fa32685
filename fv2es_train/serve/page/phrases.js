// What an utterance or a video says, in plain sentences. Owns the limits of their words.

import { chance, percent } from "./format.js";
import { listed, MODALITIES, nameOf, the } from "./names.js";

/** Terms of a logit: below the first they count as none, from the second on as strong. */
const LITTLE = 0.2;
const STRONG = 2;
const MOST = 0.6;
const TIE = 0.05;

/**
 * What each modality of the model says of a class: `letter`, `value` and `kind` in words.
 *
 * If the most probable class is decided, only the difference to the other classes counts, so
 * `value` is the term less the mean of the terms of the others.
 */
export function evidence(one, name, about) {
  return [...about.modalities].map((letter) => {
    if (!one.used.includes(letter)) return { letter, value: 0, kind: "not used" };
    const value = about.rule === "largest" ? relative(one, name, letter) : one.contribution[name][letter];
    return { letter, value, kind: kindOf(value) };
  });
}

function relative(one, name, letter) {
  const others = Object.keys(one.contribution).filter((other) => other !== name);
  const sum = others.reduce((all, other) => all + one.contribution[other][letter], 0);
  return one.contribution[name][letter] - sum / Math.max(1, others.length);
}

function kindOf(value) {
  if (Math.abs(value) < LITTLE) return "none";
  const side = value > 0 ? "for" : "against";
  return Math.abs(value) < STRONG ? side : `strongly ${side}`;
}

/** What is said of an utterance in one or two sentences. */
export function sentence(one, about) {
  if (!one.top || one.undecided) return "Not decided.";
  if (!one.decided.length)
    return `Not decided. The most probable emotion is ${nameOf(one.top)} (${chance(one.probability[one.top])}).`;
  const first = one.decided.includes(one.top) ? one.top : one.decided[0];
  const also = one.decided.filter((code) => code !== first).map((code) => withChance(one, code));
  const both = also.length ? ` and also ${listed(also)}` : "";
  const sure = one.probability[first] < 0.5 ? "Perhaps" : "Probably";
  const found = evidence(one, first, about);
  return `${sure} ${withChance(one, first)}${both}${because(found)}.${against(found)}`;
}

function withChance(one, code) {
  return `${nameOf(code)} (${chance(one.probability[code])})`;
}

function because(found) {
  const used = found.filter(({ kind }) => kind !== "not used");
  if (used.length === 1) return `, judged by ${the(used[0].letter)} alone`;
  const pro = used.filter(({ value }) => value >= LITTLE).sort((a, b) => b.value - a.value);
  if (!pro.length) return ", without clear evidence";
  const sum = pro.reduce((all, { value }) => all + value, 0);
  if (pro.length > 1 && pro[0].value < MOST * sum)
    return `, because of ${listed(pro.map(({ letter }) => the(letter)))}`;
  return `, ${pro.length > 1 ? "mostly " : ""}because of ${the(pro[0].letter)}`;
}

function against(found) {
  const contra = found.filter(({ value }) => value <= -LITTLE).map(({ letter }) => letter);
  if (!contra.length) return "";
  const speaks = contra.length > 1 || contra[0] === "t" ? "speak" : "speaks";
  const text = listed(contra.map(the));
  return ` ${text[0].toUpperCase()}${text.slice(1)} ${speaks} against it.`;
}

/** A warning if two emotions are about as probable; else empty. */
export function nearTie(one) {
  if (one.undecided || !one.decided.length || one.decided.length > 1) return "";
  const [first, second] = Object.entries(one.probability).sort((a, b) => b[1] - a[1]);
  if (!second || first[1] - second[1] >= TIE) return "";
  return (
    `${nameOf(first[0])} (${chance(first[1])}) and ${nameOf(second[0])} (${chance(second[1])}) ` +
    "are almost equally probable. Treat this utterance as unclear."
  );
}

/** Why nothing is decided and what to do about it: two lists of sentences, or null if it is. */
export function undecided(one, about) {
  if (one.decided.length && !one.undecided) return null;
  if (!one.top) return withoutModality(one, about);
  if (one.undecided) return unlikeTraining(one);
  const least = about.thresholds[one.top];
  return {
    why: [
      `No emotion is probable enough. The nearest is ${nameOf(one.top)}: it has ` +
        `${percent(one.probability[one.top])} and needs more than ${percent(least)}.`,
    ],
    what: [
      ...(about.modalities.includes("t") ? ["Check the words, correct them and score again."] : []),
      "Score a longer utterance: give its start and end under “Views and spans”.",
      "Otherwise treat this utterance as unclear. That is an answer, too.",
    ],
  };
}

const REMEDIES = {
  t: "Type the words below and score again, or send a transcript with the video.",
  v: "Use a video in which the face is large, well lit and seen from the front. If two people share the picture, set a view for each.",
  a: "Use a video with clear sound, or set a view with the channel of the speaker.",
};

function withoutModality(one, about) {
  const letters = [...about.modalities];
  const none = letters.map((letter) => MODALITIES[letter]);
  return {
    why: [
      `The model can use ${listed(none)}, but this utterance has ${letters.length > 1 ? "none of them" : "none"}.`,
      ...Object.entries(one.missing).map(([letter, why]) => `${MODALITIES[letter]}: ${why}.`),
    ],
    what: letters.map((letter) => REMEDIES[letter]),
  };
}

function unlikeTraining(one) {
  const letters = Object.keys(one.unfamiliar);
  const times = Math.max(...Object.values(one.unfamiliar)).toFixed(1);
  return {
    why: [
      `${listed(letters.map(the))} differ too much from the data that the model was trained on ` +
        `(${times} times the limit), so its answer would be a guess.`,
    ],
    what: [
      "Check that the view shows the speaker and that the sound channel is the speaker's.",
      "Record again with a closer camera and less noise.",
      "If all your videos look like this, use a run that was trained on similar ones.",
    ],
  };
}

/** The headline of a whole video. */
export function headline(summary) {
  if (!summary?.top) return "Not decided: no utterance could be scored.";
  if (summary.speakers.length) return `${summary.speakers.length} people, each on their own`;
  const mean = (code) => `${nameOf(code)} (${chance(summary.probability[code])} on average)`;
  if (summary.decided.length) {
    const sure = summary.probability[summary.top] < 0.5 ? "Perhaps" : "Probably";
    return `${sure} ${listed(summary.decided.map(mean))}`;
  }
  return `Not decided. The most probable emotion is ${mean(summary.top)}.`;
}
