// A job on the server. Owns starting, following and stopping it; leaves how it looks to others.

import { call, json, Trouble, upload } from "./api.js";
import { pause } from "./dom.js";

const EVERY_MS = 700;
const RETRY_MS = 3000;

/** Whether a state is the last one. */
export function ended(state) {
  return state === "done" || state === "failed" || state === "stopped";
}

/** Send a video; gives the new job. */
export function start(form, onSent, signal) {
  return upload("v1/predict", form, onSent, signal);
}

/** Have utterances scored with other words (id -> words or null); gives the new job. */
export function scoreAgain(id, words, signal) {
  return json(`${path(id)}/words`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ words }),
    signal,
  });
}

/** Stop a job; the server forgets all of it. */
export async function forget(id) {
  try {
    await call(path(id), { method: "DELETE" });
  } catch (error) {
    // It is gone, which is what was asked for.
    if (!(error instanceof Trouble) || error.status !== 404) throw error;
  }
}

/** The file that a finished job gives: `json`, `csv` or `srt`. */
export async function resultFile(id, kind) {
  return (await call(`${path(id)}/result.${kind}`)).blob();
}

/** The path of the film that every browser plays. */
export function previewPath(id) {
  return `${path(id)}/preview.webm`;
}

/** The film that every browser plays, whole. */
export async function previewFile(id) {
  return (await call(previewPath(id))).blob();
}

/**
 * Follow a job to its end.
 *
 * `onNews(job, fresh)` hears of each answer and of the utterances that are new in it; `onSilence`
 * is told where the server does not answer, and with null when it does again. Gives the finished
 * job with all utterances.
 */
export async function follow(id, { onNews, onSilence, signal }) {
  const utterances = [];
  let silent = false;
  for (;;) {
    try {
      const job = await json(`${path(id)}?after=${utterances.length}`, { signal });
      if (silent) onSilence(null);
      silent = false;
      utterances.push(...job.utterances);
      onNews(job, job.utterances);
      if (ended(job.state)) return { ...job, utterances };
    } catch (error) {
      if (!(error instanceof Trouble) || !error.passes) throw error;
      silent = true;
      onSilence(error);
      await pause(Math.max(RETRY_MS, 1000 * error.retryAfterS), signal);
    }
    await pause(EVERY_MS, signal);
  }
}

function path(id) {
  return `v1/jobs/${encodeURIComponent(id)}`;
}
