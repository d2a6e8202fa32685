// A job on the server. Owns starting, following and stopping it; leaves how it looks to others.

import { call, json, Trouble, upload } from "./api.js";
import { make, pause } from "./dom.js";

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

/** Have the server score its sample; gives the new job. */
export function sample(signal) {
  return json("v1/sample", { method: "POST", signal });
}

/** A job without its utterances, or null if the server has none. */
export async function peek(id, signal) {
  try {
    return await json(`${path(id)}?after=1000000`, { signal });
  } catch (error) {
    if (error instanceof Trouble && error.status === 404) return null;
    throw error;
  }
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

/** Save what a finished job gives as a file: `json`, `csv` or `srt`. */
export async function save(job, kind) {
  const blob = await (await call(`${path(job.id)}/result.${kind}`)).blob();
  const link = make("a", { download: `${job.video.replace(/\.[^.]*$/, "")}-fv2es.${kind}` });
  link.href = URL.createObjectURL(blob);
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
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
