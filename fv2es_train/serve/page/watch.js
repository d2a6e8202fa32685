// A job as the page watches it. Owns telling its progress, and what its end means.

import { Trouble } from "./api.js";
import * as jobs from "./job.js";
import * as notice from "./notice.js";
import * as progress from "./progress.js";

/** Follow a job to its end with the bar moving; gives the finished job. */
export async function watch(id, signal, onNews) {
  const done = await jobs.follow(id, {
    signal,
    onNews: (job, fresh) => {
      if (!jobs.ended(job.state)) progress.working(job);
      onNews(job, fresh);
    },
    onSilence: (error) =>
      error
        ? notice.say(error.sentence, "The page asks again. The work goes on if the server runs.")
        : notice.clear(),
  });
  if (done.state === "failed") throw new Trouble(done.error.sentence, done.error.hint, 422);
  if (done.state === "stopped") throw new Trouble("The server stopped the work.", "", 409);
  return done;
}
