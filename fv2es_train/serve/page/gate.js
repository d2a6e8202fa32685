// The way in. Owns asking the server what it is, for as long as that takes, and asking for a token.

import * as api from "./api.js";
import { byId, pause, show } from "./dom.js";
import { ended } from "./notice.js";

const RETRY_MS = 2000;
const LOADING = "The model is being loaded";

/** What the server says of itself once it is ready; null if a token is needed first. */
export async function enter() {
  for (;;) {
    try {
      const about = await api.json("v1/about");
      if (about.ready) return about;
      tell(LOADING, "This takes some seconds after the start of the server.");
    } catch (error) {
      if (!(error instanceof api.Trouble)) throw error;
      if (error.status === 401) {
        askToken();
        return null;
      }
      const title = error.status === 503 ? LOADING : "Waiting for the server";
      tell(title, `${ended(error.sentence)} ${ended(error.hint)}`);
    }
    await pause(RETRY_MS);
  }
}

/** Ask for the token, or for another one if there is one that the server does not accept. */
export function askToken() {
  tell(
    "Token",
    api.hasToken()
      ? "The server does not accept this token."
      : "This server asks for a token. The person who started it knows the token.",
  );
  show(true, byId("token-form"));
  byId("token").focus();
}

/** Call `onToken` when a token is entered. */
export function onToken(callback) {
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.setToken(byId("token").value.trim());
    byId("token").value = "";
    callback();
  });
}

function tell(title, text) {
  byId("gate-title").textContent = title;
  byId("gate-text").textContent = text;
  show(false, byId("token-form"));
}
