// What is drawn on the time line. Owns its looks: blocks of classes, spans of speech, seconds.

import { clock } from "./format.js";

/** Between two rows, and below them for the seconds. */
export const GAP_PX = 5;
export const AXIS_PX = 20;
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const TICK_PX = 70;
const DIGIT_PX = 8;
const LEAST_PX = 1.5;
const NARROW_PX = 6;
const UNDER_PX = 4;

/**
 * Draw the part of the time line that is seen.
 *
 * `now` holds `utterances`, the `chosen` one, `classes`, `lanes`, and in pixels `rowPx`, `width`,
 * `height` and `from`: the left edge on a strip of `scale` pixels for each of `length` seconds.
 */
export function draw(pen, now) {
  const ink = colours();
  const font = getComputedStyle(document.body).fontFamily;
  const blocks = now.utterances
    .map((one, number) => ({ one, number, left: one.start_s * now.scale - now.from }))
    .map((block) => ({
      ...block,
      width: Math.max((block.one.end_s - block.one.start_s) * now.scale, LEAST_PX),
    }))
    .filter(({ left, width }) => left + width > 0 && left < now.width);
  drawAxis(pen, ink, font, now);
  const chosen = blocks.find(({ one }) => one === now.chosen);
  if (chosen) {
    pen.fillStyle = ink.chosen;
    pen.fillRect(chosen.left - 2, 0, chosen.width + 4, now.height - AXIS_PX);
  }
  for (const block of blocks) {
    now.classes.forEach((name, row) => drawClass(pen, ink, now, block, name, row));
    drawSpeech(pen, ink, font, now, block);
  }
}

/** Top and height of an utterance's lane in a row. */
function laneOf(now, one, row) {
  const height = now.rowPx / now.lanes.count;
  const top = row * (now.rowPx + GAP_PX) + now.lanes.of(one) * height;
  return [top, height - (now.lanes.count > 1 ? 1 : 0)];
}

function drawClass(pen, ink, now, { one, left, width }, name, row) {
  if (!(name in one.probability)) return;
  const [top, height] = laneOf(now, one, row);
  pen.fillStyle = ink.empty;
  pen.fillRect(left, top, width, height);
  pen.globalAlpha = one.probability[name];
  pen.fillStyle = ink.full;
  pen.fillRect(left, top, width, height);
  pen.globalAlpha = 1;
  if (!one.decided.includes(name)) return;
  if (width < NARROW_PX) {
    // An outline would leave nothing of the block.
    pen.fillStyle = ink.decided;
    pen.fillRect(left, top + height - UNDER_PX, width, UNDER_PX);
    return;
  }
  pen.strokeStyle = ink.decided;
  pen.lineWidth = 2;
  pen.strokeRect(left + 1, top + 1, Math.max(width - 2, 1), height - 2);
}

function drawSpeech(pen, ink, font, now, { one, number, left, width }) {
  const [top, height] = laneOf(now, one, now.classes.length);
  pen.fillStyle = one.top ? ink.speech : ink.empty;
  pen.fillRect(left, top, width, height);
  const text = String(number + 1);
  if (width < DIGIT_PX * text.length) return;
  pen.fillStyle = ink.ink;
  pen.font = `${Math.min(11, height)}px ${font}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, left + width / 2, top + height / 2 + 0.5);
}

function drawAxis(pen, ink, font, now) {
  const step = STEPS_S.find((one) => one * now.scale >= TICK_PX) ?? STEPS_S.at(-1);
  pen.font = `11px ${font}`;
  pen.textBaseline = "alphabetic";
  for (let n = Math.ceil(now.from / now.scale / step); n * step <= now.length; n += 1) {
    const x = n * step * now.scale - now.from;
    if (x > now.width) break;
    pen.fillStyle = ink.hairline;
    pen.fillRect(Math.round(x), 0, 1, now.height - AXIS_PX + 4);
    pen.fillStyle = ink.faint;
    const atEdge = x > now.width - 15 ? "right" : "center";
    pen.textAlign = x < 15 ? "left" : atEdge;
    pen.fillText(clock(n * step, step < 1 ? 1 : 0), x, now.height - 4);
  }
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["full", "empty", "decided", "speech", "ink", "faint", "hairline", "chosen"];
  return Object.fromEntries(
    names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
  );
}
