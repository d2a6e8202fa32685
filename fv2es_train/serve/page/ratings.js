// The ratings of an utterance or a video. Owns their table.

import { make } from "./dom.js";

/**
 * The table of some ratings, or null if there are none.
 *
 * `values` is name -> value; `scales` are those of the server; `old` is the same before other words.
 */
export function ratingsTable(values, scales, old = null) {
  const known = scales.filter((scale) => scale.name in values);
  if (!known.length) return null;
  return make(
    "table",
    { class: "summary", data: { testid: "ratings" } },
    make("caption", { text: "Ratings: estimates, not calibrated" }),
    make(
      "tbody",
      {},
      ...known.map((scale) => row(scale, values[scale.name], old?.[scale.name] ?? null)),
    ),
  );
}

function row({ name, low, high, low_means, high_means }, value, was) {
  const number = make("td", {
    class: "number",
    data: { testid: `rating-${name}` },
    text: value.toFixed(2),
  });
  if (was !== null && was.toFixed(2) !== value.toFixed(2))
    number.append(make("span", { class: "was", text: ` was ${was.toFixed(2)}` }));
  const ends = [end(low, low_means), end(high, high_means)].filter(Boolean);
  return make(
    "tr",
    {},
    make("th", { scope: "row", text: name }),
    number,
    make("td", { class: "faint", text: ends.join(" to ") }),
  );
}

/** An end of a scale: its value, if it is known, and what it means, if that is known. */
function end(value, means) {
  if (value === null) return means;
  const number = String(Number(value.toFixed(2))).replace("-", "−");
  return means ? `${number} (${means})` : number;
}
