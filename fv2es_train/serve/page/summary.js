// The whole video. Owns its table of means and shares, and the notes.

import { probabilityBar } from "./bars.js";
import { byId, make } from "./dom.js";
import { decision, duration, percent, probability, several, threshold } from "./format.js";
import { ended } from "./notice.js";
import { ratingsTable } from "./ratings.js";

/**
 * Show what the server says of the whole video.
 *
 * `thresholds` of the server has those of the classes, if the run decides by them; `old` is the
 * summary before other words.
 */
export function showSummary(summary, { thresholds, ratings }, old = null) {
  const box = byId("summary");
  box.replaceChildren(headline(summary, old));
  if (!summary?.top) return;
  if (!summary.speakers.length) {
    box.append(table(summary, thresholds, old));
    box.append(ratingsTable(summary.ratings, ratings, old?.ratings) ?? "");
    return;
  }
  const before = (one) => old?.speakers.find((other) => other.speaker === one.speaker);
  const each = summary.speakers.map((one) =>
    make(
      "details",
      {},
      make("summary", { text: `Classes of ${one.speaker}` }),
      table(one, thresholds, before(one)),
      ratingsTable(one.ratings, ratings, before(one)?.ratings),
    ),
  );
  box.append(speakers(summary.speakers), ...each);
}

/** Say that the whole video is not told yet. */
export function awaitSummary() {
  const text = "Comes when all utterances are scored.";
  byId("summary").replaceChildren(make("p", { class: "hint", text }));
}

/** Show what was missing and what was done instead. */
export function showNotes(notes) {
  const items = notes.map((note) => make("li", { text: ended(note) }));
  byId("notes").replaceChildren(
    ...(items.length ? [make("ul", { class: "notes" }, ...items)] : []),
  );
}

function headline(summary, old) {
  if (!summary?.top)
    return make("p", {
      class: "headline",
      data: { testid: "headline" },
      text: "Not decided: no utterance could be scored.",
    });
  const sure = summary.decided.length > 0;
  const said = (one) => {
    if (one.speakers.length) return `${several(one.speakers.length, "person")}, each on its own`;
    if (one.decided.length) return one.decided.join(", ");
    return `No class is decided; ${one.top} has the highest mean.`;
  };
  const line = make(
    "p",
    { class: "headline", data: { testid: "headline" } },
    sure ? "Decided: " : "",
    make("strong", { text: said(summary) }),
  );
  if (old && said(old) !== said(summary))
    line.append(make("span", { class: "faint", text: ` (was: ${said(old)})` }));
  const rest = summary.unscored
    ? `, ${several(summary.unscored, "utterance")} could not be scored`
    : "";
  return make(
    "div",
    {},
    line,
    make("p", {
      class: "hint",
      text: `${several(summary.scored, "utterance")}, ${duration(summary.spoken_s)} scored${rest}. Means are weighted by length.`,
    }),
  );
}

/** The decision for each person; means of the whole video would mix them. */
function speakers(each) {
  const rows = each.map((one) =>
    make(
      "tr",
      { class: one.decided.length ? "decided" : "" },
      make("th", { scope: "row", text: one.speaker }),
      make("td", { text: decision(one) }),
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

function table(summary, thresholds, old) {
  const withThresholds = Object.keys(thresholds).length > 0;
  const head = ["class", "mean probability", "", withThresholds ? "threshold" : "", "share of time"];
  const body = make("tbody");
  for (const name of Object.keys(summary.probability)) {
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
    body.append(
      make(
        "tr",
        { class: isDecided ? "decided" : "" },
        make("th", { scope: "row", text: name }),
        make(
          "td",
          { class: "wide" },
          probabilityBar(
            summary.probability[name],
            least,
            isDecided,
            moved ? was : null,
          ),
        ),
        number,
        make("td", { class: "number faint", text: least === null ? "" : threshold(least) }),
        make("td", {
          class: "number",
          data: { testid: `share-${name}` },
          text: percent(summary.share[name]),
        }),
      ),
    );
  }
  return make(
    "table",
    { class: "summary" },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        ...head.map((text, place) =>
          make("th", { scope: "col", class: place > 1 ? "number" : "", text }),
        ),
      ),
    ),
    body,
  );
}
