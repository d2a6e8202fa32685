// What went wrong, said at the top of the page. Owns its looks and the count-down to trying again.

import { Trouble } from "./api.js";
import { byId, make } from "./dom.js";
import { duration } from "./format.js";

let timer = 0;

/** Take away what is said. */
export function clear() {
  clearInterval(timer);
  byId("notice").replaceChildren();
}

/** Say one sentence with a hint; `again`, where given, is called by a button. */
export function say(sentence, hint = "", again = null, waitS = 0) {
  clear();
  const close = make("button", {
    type: "button",
    class: "small quiet",
    "aria-label": "Close",
    text: "×",
  });
  close.addEventListener("click", clear);
  const box = make("div", { class: "notice", role: "alert", data: { testid: "error" } });
  box.append(make("p", {}, make("strong", { text: sentence })));
  if (hint) box.append(make("p", { text: hint }));
  if (again) box.append(againButton(again, waitS));
  box.append(close);
  byId("notice").append(box);
  box.scrollIntoView({ block: "nearest" });
}

/** Say what an error says; one that is not of the server is a fault of this page. */
export function tell(error, again = null) {
  if (error instanceof Trouble) {
    const retry = error.passes ? again : null;
    say(ended(error.sentence), ended(error.hint), retry, error.retryAfterS);
    return;
  }
  say("This page made a mistake.", String(error?.message ?? error));
  console.error(error);
}

/** A sentence of the server as a sentence of a page: with a capital and a full stop. */
export function ended(sentence) {
  if (!sentence) return "";
  const whole = /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
  // A file name at the beginning keeps its letters.
  return /^[a-z]+[ ,]/.test(whole) ? whole[0].toUpperCase() + whole.slice(1) : whole;
}

function againButton(again, waitS) {
  const button = make("button", { type: "button", class: "small", data: { testid: "try-again" } });
  let left = Math.ceil(waitS);
  const count = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${duration(left)}` : "Try again";
    if (left <= 0) clearInterval(timer);
    left -= 1;
  };
  count();
  if (waitS > 0) timer = setInterval(count, 1000);
  button.addEventListener("click", () => {
    clear();
    again();
  });
  return make("p", {}, button);
}
