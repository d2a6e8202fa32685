// The page. Owns which of its parts is shown and what follows what; each part does its own work.

import * as api from "./api.js";
import { byId, make, pause, show } from "./dom.js";
import { Form } from "./form.js";
import { whenDecided } from "./format.js";
import * as jobs from "./job.js";
import * as notice from "./notice.js";
import * as progress from "./progress.js";
import { Result } from "./result.js";

const RETRY_MS = 2000;

const form = new Form((request) => score(request));
const result = new Result((words) => rescore(words));
let about = null;
/** The finished job that is shown. */
let shown = null;
/** The ids of all jobs of this video, so that the server can be told to forget them. */
let ids = [];

function part(name) {
  for (const id of ["gate", "start", "work"]) show(id === name, byId(id));
}

/** Ask for what the server is, for as long as it takes to answer. */
async function enter() {
  part("gate");
  for (;;) {
    try {
      about = await api.json("v1/about");
      if (about.ready) break;
      gate("The model is being loaded", "This takes some seconds after the start of the server.");
    } catch (error) {
      if (!(error instanceof api.Trouble)) throw error;
      if (error.status === 401) return askToken();
      if (error.status === 503) gate("The model is being loaded", notice.ended(error.sentence));
      else
        gate(
          "Waiting for the server",
          `${notice.ended(error.sentence)} ${notice.ended(error.hint)}`,
        );
    }
    await pause(RETRY_MS);
  }
  describe();
  form.describe(about);
  part("start");
}

function gate(title, text) {
  byId("gate-title").textContent = title;
  byId("gate-text").textContent = text;
  show(false, byId("token-form"));
}

function askToken() {
  const again = api.hasToken();
  gate(
    "Token",
    again
      ? "The server does not take this token."
      : "This server asks for a token. Who started it knows it.",
  );
  show(true, byId("token-form"));
  byId("token").focus();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setToken(byId("token").value.trim());
  byId("token").value = "";
  run(enter);
});

function describe() {
  document.title = `fv2es: ${about.run}`;
  byId("run").replaceChildren(
    make("span", {}, "run ", make("strong", { text: about.run })),
    make("span", { text: about.model }),
    make("span", { text: about.classes.join(" ") }),
  );
  byId("version").textContent = `fv2es ${about.version}`;
  byId("trained").textContent = notice.ended(about.trained_on);
  byId("not-for").textContent = `What it is not for: ${notice.ended(about.not_for)}`;
  byId("when-decided").textContent = whenDecided(about);
  byId("rule").textContent =
    `A class is decided ${
      about.rule === "largest"
        ? "if it is the most probable one; its probability says how sure that is"
        : "if its probability is above the threshold that the run stores; “(neu?)” says that none " +
          "is, and which is the most probable"
    }. The terms of text, faces and sound add up to the logit.`;
}

/** Run something and tell what went wrong in it; a token that is refused is asked for again. */
async function run(task, again = null) {
  try {
    await task();
  } catch (error) {
    if (error?.name === "AbortError") return;
    if (error instanceof api.Trouble && error.status === 401) askTokenAgain();
    else notice.tell(error, again);
  }
}

function askTokenAgain() {
  part("gate");
  askToken();
}

/** Send a video, show utterances as they come, and the whole at the end. */
function score(request) {
  notice.clear();
  const stopping = new AbortController();
  return run(
    async () => {
      part("work");
      result.begin(about);
      if (request.seen.plays || request.seen.sounds) result.player.load(request.file);
      else result.player.unload("The film that this browser can play comes at the end.");
      try {
        await work(request, stopping);
      } catch (error) {
        result.player.unload();
        part("start");
        throw error;
      } finally {
        progress.close();
      }
    },
    () => score(request),
  );
}

async function work(request, stopping) {
  ids = [];
  progress.open(() => stop(stopping));
  progress.sending(0, request.file.size);
  const job = await jobs.start(request.form, progress.sending, stopping.signal);
  const done = await follow(job.id, stopping, (news, fresh) => result.grow(news, fresh));
  result.finish(done);
  shown = done;
  if (!request.seen.plays) await showPreview(done, request);
}

/** Follow a job to its end; one that fails is an error. */
async function follow(id, stopping, onNews) {
  ids.push(id);
  const done = await jobs.follow(id, {
    signal: stopping.signal,
    onNews: (job, fresh) => {
      if (!jobs.ended(job.state)) progress.working(job);
      onNews(job, fresh);
    },
    onSilence: (error) =>
      error
        ? notice.say(error.sentence, "Asking again; the work goes on if the server does.")
        : notice.clear(),
  });
  if (done.state === "failed") throw new api.Trouble(done.error.sentence, done.error.hint, 422);
  if (done.state === "stopped")
    throw new api.Trouble("The work was stopped on the server.", "", 409);
  return done;
}

function stop(stopping) {
  stopping.abort(new DOMException("stopped", "AbortError"));
  // What was only being sent has no id: to end the connection is all there is to do.
  const id = ids.at(-1);
  if (id && id !== shown?.id) run(() => jobs.forget(id));
}

async function showPreview(job, request) {
  if (job.preview) {
    // An address allows jumping without fetching all, but carries no token.
    const path = jobs.previewPath(job.id);
    result.player.load(api.hasToken() ? await jobs.previewFile(job.id) : api.address(path));
  } else if (!request.seen.sounds) {
    result.player.unload(
      "There is no film that this browser can play. The results are not affected.",
    );
  }
}

/** Have the corrected words scored, and show what is different. */
function rescore(words) {
  notice.clear();
  const stopping = new AbortController();
  const before = shown;
  return run(
    async () => {
      result.editable = false;
      progress.open(() => stop(stopping));
      try {
        const job = await jobs.scoreAgain(before.id, words, stopping.signal);
        const done = await follow(job.id, stopping, () => {});
        result.finish(done, before);
        shown = done;
      } finally {
        progress.close();
        result.editable = true;
      }
    },
    () => rescore(words),
  );
}

for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => run(() => download(button.dataset.download)));
}

async function download(kind) {
  const blob = await jobs.resultFile(shown.id, kind);
  const link = make("a", { download: `${shown.video.replace(/\.[^.]*$/, "")}-fv2es.${kind}` });
  link.href = URL.createObjectURL(blob);
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function leave() {
  shown = null;
  result.player.unload();
  notice.clear();
  form.clear();
  part("start");
  byId("main").focus();
}

byId("another").addEventListener("click", leave);
byId("forget").addEventListener("click", () =>
  run(async () => {
    for (const id of ids) await jobs.forget(id);
    leave();
    byId("spoken").textContent = "The server has deleted the video and its results.";
  }),
);

run(enter);
