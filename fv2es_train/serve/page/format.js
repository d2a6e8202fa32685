// Numbers and names as text. Owns how times, sizes and probabilities are written.

/** Seconds as `1:02.3`, or `1:01:02.3` from an hour on. */
export function clock(seconds, digits = 1) {
  const factor = 10 ** digits;
  const all = Math.round(Math.max(0, seconds) * factor);
  const hours = Math.floor(all / (3600 * factor));
  const minutes = Math.floor(all / (60 * factor)) % 60;
  const rest = ((all % (60 * factor)) / factor)
    .toFixed(digits)
    .padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Bytes as KiB, MiB or GiB, as the server's sentences have them. */
export function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${units[unit]}`;
}

/** A whole length of time in words: `45 s`, `60 min`, `1 h 30 min`. */
export function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes <= 120) return `${minutes} min`;
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest ? ` ${rest} min` : ""}`;
}

/** A probability with three digits. */
export function probability(value) {
  return value.toFixed(3);
}

/** A probability in plain form: whole percent, and never a certainty. */
export function chance(value) {
  if (value > 0.99) return "over 99 %";
  return value < 0.01 ? "under 1 %" : `${Math.round(100 * value)} %`;
}

/** A threshold, with as many digits as it has, at least two. */
export function threshold(value) {
  const text = String(Number(value.toFixed(4)));
  return text.length < 4 ? value.toFixed(2) : text;
}

/** When a class is decided, by the rule of the run. */
export function whenDecided(about) {
  return about.rule === "largest" ? "the most probable class" : "above the threshold";
}

/** A share of one as percent. */
export function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
}

/** A term of a logit with its sign; what is zero in two digits has none. */
export function term(value) {
  const text = Math.abs(value).toFixed(2);
  if (text === "0.00") return text;
  return `${value < 0 ? "−" : "+"}${text}`;
}

/** A number of things: `1 utterance`, `2 utterances`. */
export function several(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

/** Whether an utterance is on at a moment. */
export function isOn(one, seconds) {
  return one.start_s <= seconds && seconds < one.end_s;
}

/** A name that the server takes: what it refuses in names, written as %22 too, becomes `_`. */
export function plainName(name) {
  const clean = name
    .replace(/[\\/:*?"'<>|]|%(?=[0-9a-f]{2})|[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/giu, "_")
    .trim();
  const dot = clean.lastIndexOf(".");
  const end = dot > 0 ? clean.slice(dot, dot + 12) : "";
  const stem = (dot > 0 ? clean.slice(0, dot) : clean).replace(/^\.+/, "") || "video";
  // Cut between characters, not within one.
  return [...stem].slice(0, 150).join("") + end;
}
