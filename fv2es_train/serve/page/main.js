// The page. Owns which of its parts is shown and what follows what; each part does its own work.

import * as address from "./address.js";
import * as api from "./api.js";
import { describe } from "./card.js";
import { byId, show } from "./dom.js";
import * as films from "./films.js";
import { Form } from "./form.js";
import { duration } from "./format.js";
import * as gate from "./gate.js";
import * as jobs from "./job.js";
import { setNames } from "./names.js";
import * as notice from "./notice.js";
import * as progress from "./progress.js";
import { Result } from "./result.js";
import { close as closeShare, share } from "./share.js";
import { watch } from "./watch.js";

const form = new Form((request) => send(request));
const result = new Result((words) => rescore(words));
let about = null;
/** The finished job that is shown, and when it was told, in milliseconds since 1970. */
let shown = null;
let shownAt = 0;
/** The ids of all jobs of this video: the first has the film, the last is shown. */
let ids = [];
/** What is being sent or followed. */
let current = null;

function part(name) {
  for (const id of ["gate", "start", "work"]) show(id === name, byId(id));
  show(name !== "gate", byId("card"));
}

async function enter() {
  part("gate");
  about = await gate.enter();
  if (!about) return;
  setNames(about.names);
  describe(about);
  form.describe(about);
  films.sweep();
  await route();
}

/** Show what the address names: a result, or the form. */
async function route() {
  const wanted = address.jobs();
  if (shown && wanted.join() === ids.join()) return;
  if (wanted.length) await reopen(wanted);
  else toStart();
}

gate.onToken(() => run(enter));
address.onMove(() => about && run(route));

document.querySelector(".skip").addEventListener("click", (event) => {
  // The link would take the place of the job in the address.
  event.preventDefault();
  byId("main").focus();
});

/** Run something and tell what went wrong in it; a token that is refused is asked for again. */
async function run(task, again = null) {
  try {
    await task();
  } catch (error) {
    if (error?.name === "AbortError") return;
    if (error instanceof api.Trouble && error.status === 401) {
      part("gate");
      gate.askToken();
    } else notice.tell(error, again);
  }
}

/** Begin with a video: an empty result, and the panel with the bar. Gives what stops it. */
function begin() {
  current?.abort(new DOMException("another one begins", "AbortError"));
  const stopping = new AbortController();
  current = stopping;
  shown = null;
  notice.clear();
  closeShare();
  part("work");
  result.begin(about);
  progress.open(() => stop(stopping));
  return stopping;
}

/** Do the work of a video; if it fails, the form is shown again. */
async function during(stopping, work) {
  try {
    await work();
  } catch (error) {
    if (current === stopping) {
      address.replace([]);
      toStart();
    }
    throw error;
  } finally {
    if (current === stopping) progress.close();
  }
}

/** Send the video of the form. */
function send(request) {
  const plays = request.seen.plays || request.seen.sounds;
  return score(
    plays ? request.file : null,
    (signal) => {
      progress.sending(0, request.file.size);
      return jobs.start(request.form, progress.sending, signal);
    },
    () => send(request),
  );
}

/** Have the server score its sample. */
function trySample() {
  const start = (signal) => {
    progress.preparing();
    return jobs.sample(signal);
  };
  return score(null, start, trySample);
}

byId("sample").addEventListener("click", trySample);

/** Score a video that `start` gives to the server; `film` is what this browser can play of it. */
function score(film, start, again) {
  return run(async () => {
    const stopping = begin();
    ids = [];
    if (film) result.player.load(film);
    else result.player.unload("The video is shown here when it is scored.");
    await during(stopping, async () => {
      const job = await start(stopping.signal);
      ids = [job.id];
      address.go(ids);
      if (film) await films.keep(job.id, film, Date.now() + 1000 * longestS());
      await finish(stopping, film);
    });
  }, again);
}

/** The longest time in seconds until the result of a video is gone, if the queue is full. */
function longestS() {
  const { queue, job_s: job, keep_s: kept } = about.limits;
  return (queue + 1) * job + kept;
}

/** Show a result that is on the server: after a reload, or from a link. */
async function reopen(wanted) {
  const stopping = begin();
  ids = wanted;
  progress.asking();
  try {
    await during(stopping, async () => {
      const film = await films.find(ids[0]);
      if (film) result.player.load(film);
      else result.player.unload("The video is shown here when it is scored.");
      await finish(stopping, film);
    });
  } catch (error) {
    if (!(error instanceof api.Trouble) || error.status !== 404) throw error;
    await films.forget(wanted[0]);
    const kept = duration(about.limits.keep_s);
    notice.say(
      "This result is no longer on the server.",
      `It was deleted, its time was over (${kept} after the end), or the server was started again. Send the video again.`,
    );
  }
}

/** Follow the last job to its end, and show the video. */
async function finish(stopping, film) {
  const job = await watch(ids.at(-1), stopping.signal, (news, fresh) => result.grow(news, fresh));
  result.finish(job);
  keepShown(job);
  // A film that plays without a picture is no match for that of the server.
  if (!film || job.preview) await showPreview(job, stopping.signal);
}

function keepShown(job) {
  [shown, shownAt] = [job, Date.now()];
  films.extend(ids[0], shownAt + 1000 * job.expires_s);
}

function stop(stopping) {
  stopping.abort(new DOMException("stopped", "AbortError"));
  // What was only being sent has no id: to end the connection is all there is to do.
  const id = ids.at(-1);
  if (id && id !== shown?.id) run(() => jobs.forget(id));
}

/** Play the server's film; corrected words have none of their own but that of the first job. */
async function showPreview(job, signal) {
  const source = job.id === ids[0] ? job : await jobs.peek(ids[0], signal);
  if (source?.preview) {
    films.forget(ids[0]);
    // An address allows jumping without fetching all, but carries no token.
    const path = jobs.previewPath(source.id);
    result.player.load(api.hasToken() ? await jobs.previewFile(source.id) : api.address(path));
  } else
    result.player.unload(
      "There is no video to play: only the browser that sent it has it. The results are not affected.",
    );
}

/** Have the corrected words scored, and show what is different. */
function rescore(words) {
  notice.clear();
  closeShare();
  const stopping = new AbortController();
  current = stopping;
  const before = shown;
  let added = "";
  return run(
    async () => {
      result.editable = false;
      progress.open(() => stop(stopping));
      try {
        added = (await jobs.scoreAgain(before.id, words, stopping.signal)).id;
        ids = [...ids, added];
        const done = await watch(added, stopping.signal, () => {});
        result.finish(done, before);
        address.replace(ids);
        keepShown(done);
      } catch (error) {
        ids = ids.filter((id) => id !== added);
        throw error;
      } finally {
        if (current === stopping) {
          progress.close();
          result.editable = true;
        }
      }
    },
    () => rescore(words),
  );
}

for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => run(() => jobs.save(shown, button.dataset.download)));
}

byId("share-open").addEventListener("click", () => {
  const passedS = (Date.now() - shownAt) / 1000;
  run(() => share(Math.max(0, shown.expires_s - passedS), api.hasToken()));
});

/** Show the form; what was shown stays on the server. */
function toStart() {
  current?.abort(new DOMException("left", "AbortError"));
  current = shown = null;
  ids = [];
  progress.close();
  result.player.unload();
  notice.clear();
  part("start");
}

function leave() {
  address.go([]);
  toStart();
  form.clear();
  byId("main").focus();
}

byId("another").addEventListener("click", leave);
byId("forget").addEventListener("click", () =>
  run(async () => {
    for (const id of ids) await jobs.forget(id);
    await films.forget(ids[0]);
    leave();
    byId("spoken").textContent = "The video and its results are deleted.";
  }),
);

run(enter);
