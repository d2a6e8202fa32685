// The whole video. Owns its table of means and shares, and the notes.

import { probabilityBar } from "./bars.js";
import { byId, make } from "./dom.js";
import { chance, duration, percent, probability, several, threshold } from "./format.js";
import { decisionLabel, label, speakerName } from "./names.js";
import { ended } from "./notice.js";
import { headline } from "./phrases.js";
import { ratingsTable } from "./ratings.js";

/**
 * Show what the server says of the whole video.
 *
 * `about.thresholds` has those of the classes, if the run decides by them; `old` is the summary
 * before other words; `numbers` asks for three digits and thresholds.
 */
export function showSummary(summary, about, old = null, numbers = false) {
  const box = byId("summary");
  const { ratings } = about;
  const table = numbers ? numbersTable : plainTable;
  box.replaceChildren(headlineOf(summary, old));
  if (!summary?.top) return;
  if (!summary.speakers.length) {
    box.append(table(summary, about, old));
    box.append(ratingsTable(summary.ratings, ratings, old?.ratings) ?? "");
    return;
  }
  const before = (one) => old?.speakers.find((other) => other.speaker === one.speaker);
  const each = summary.speakers.map((one) =>
    make(
      "details",
      {},
      make("summary", { text: `Emotions of ${speakerName(one.speaker)}` }),
      table(one, about, before(one)),
      ratingsTable(one.ratings, ratings, before(one)?.ratings),
    ),
  );
  box.append(speakers(summary.speakers), ...each);
}

/** Say that the whole video is not told yet. */
export function awaitSummary() {
  const text = "This comes when all utterances are scored.";
  byId("summary").replaceChildren(make("p", { class: "hint", text }));
}

/** Show what was missing and what was done instead. */
export function showNotes(notes) {
  const items = notes.map((note) => make("li", { text: ended(note) }));
  byId("notes").replaceChildren(
    ...(items.length ? [make("ul", { class: "notes" }, ...items)] : []),
  );
}

function headlineOf(summary, old) {
  const text = headline(summary);
  const line = make("p", { class: "headline", data: { testid: "headline" } }, make("strong", { text }));
  if (!summary?.top) {
    const why = "Choose an utterance below: it says why, and what you can do.";
    return make("div", {}, line, make("p", { class: "hint", text: why }));
  }
  if (old && headline(old) !== text)
    line.append(make("span", { class: "faint", text: ` (was: ${headline(old)})` }));
  const rest = summary.unscored
    ? `, ${several(summary.unscored, "utterance")} could not be scored`
    : "";
  const scored = `${several(summary.scored, "utterance")}, ${duration(summary.spoken_s)} scored${rest}.`;
  const means = " A long utterance counts more in the averages than a short one.";
  return make("div", {}, line, make("p", { class: "hint", text: scored + means }));
}

/** The decision for each person; means of the whole video would mix them. */
function speakers(each) {
  const rows = each.map((one) =>
    make(
      "tr",
      { class: one.decided.length ? "decided" : "" },
      make("th", { scope: "row", text: speakerName(one.speaker) }),
      make("td", {}, decisionLabel(one)),
      make("td", { class: "number", text: duration(one.spoken_s) }),
    ),
  );
  return make(
    "table",
    { class: "summary", data: { testid: "speakers" } },
    make("caption", { text: "Each person" }),
    make("tbody", {}, ...rows),
  );
}

/** Names, bars and percent. */
function plainTable(summary, about, old) {
  const rows = Object.keys(summary.probability).map((name) => {
    const isDecided = summary.decided.includes(name);
    const was = old?.probability?.[name] ?? null;
    const value = summary.probability[name];
    const least = about.thresholds[name] ?? null;
    return make(
      "tr",
      { class: isDecided ? "decided" : "" },
      make("th", { scope: "row" }, label(name)),
      make("td", { class: "wide" }, probabilityBar(value, least, isDecided, was)),
      make("td", { class: "number", data: { testid: `average-${name}` }, text: chance(value) }),
      share(summary, name),
    );
  });
  return tableOf(["emotion", "", "on average", "share of time"], rows);
}

/** Three digits and thresholds. */
function numbersTable(summary, { thresholds }, old) {
  const withThresholds = Object.keys(thresholds).length > 0;
  const rows = Object.keys(summary.probability).map((name) => {
    const least = thresholds[name] ?? null;
    const isDecided = summary.decided.includes(name);
    const was = old?.probability?.[name] ?? null;
    const moved = was !== null && probability(was) !== probability(summary.probability[name]);
    const number = make("td", {
      class: "number",
      data: { testid: `mean-${name}` },
      text: probability(summary.probability[name]),
    });
    if (moved) number.append(make("span", { class: "was", text: ` was ${probability(was)}` }));
    const bar = probabilityBar(summary.probability[name], least, isDecided, moved ? was : null);
    return make(
      "tr",
      { class: isDecided ? "decided" : "" },
      make("th", { scope: "row" }, label(name)),
      make("td", { class: "wide" }, bar),
      number,
      make("td", { class: "number faint", text: least === null ? "" : threshold(least) }),
      share(summary, name),
    );
  });
  const least = withThresholds ? "threshold" : "";
  return tableOf(["emotion", "", "mean probability", least, "share of time"], rows);
}

function share(summary, name) {
  const text = percent(summary.share[name]);
  return make("td", { class: "number", data: { testid: `share-${name}` }, text });
}

function tableOf(head, rows) {
  const cells = head.map((text, place) =>
    make(text ? "th" : "td", { scope: text ? "col" : null, class: place ? "number" : "", text }),
  );
  return make(
    "table",
    { class: "summary" },
    make("thead", {}, make("tr", {}, ...cells)),
    make("tbody", {}, ...rows),
  );
}
