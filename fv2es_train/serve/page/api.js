// Calls of the server. Owns the token, addresses and what an answer that is no success means.

const KEY = "fv2es-token";
let token = stored();

/** What went wrong: a sentence, what to do, the HTTP status (0: no answer), seconds to wait. */
export class Trouble extends Error {
  constructor(sentence, hint = "", status = 0, retryAfterS = 0) {
    super(sentence);
    Object.assign(this, { sentence, hint, status, retryAfterS });
  }

  /** Whether the same call may succeed a moment later. */
  get passes() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // Storage is switched off in this browser: the token lives as long as the page.
  }
}

/** Take a token for all calls from now on; it is kept in this tab. */
export function setToken(value) {
  token = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    return;
  }
}

/** Whether there is a token, so that a plain address does not do. */
export function hasToken() {
  return token !== "";
}

/** The address of a path of the API, beside this page wherever it is served. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/** Call the server and give its answer, whose status is one of success. */
export async function call(path, options = {}) {
  const headers = { ...options.headers, ...authorization() };
  let response;
  try {
    response = await fetch(address(path), { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw unanswered();
  }
  if (response.ok) return response;
  throw troubleOf(response.status, response.headers.get("Retry-After"), await response.text());
}

/** Call the server and give what its JSON says. */
export async function json(path, options) {
  const response = await call(path, options);
  try {
    return await response.json();
  } catch {
    throw new Trouble(
      "The server's answer cannot be read.",
      "Is this the address of fv2es serve?",
      502,
    );
  }
}

/**
 * Send a form, and tell how many bytes of it are gone.
 *
 * fetch cannot tell that, so this is an XMLHttpRequest.
 */
export function upload(path, form, onSent, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    for (const [name, value] of Object.entries(authorization()))
      request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onSent(event.loaded, event.total);
    request.onerror = () =>
      reject(
        new Trouble(
          "The connection ended before the video was sent.",
          "The server may have stopped or refused it, or the network is gone. Try again.",
        ),
      );
    request.onload = () => {
      const { status, responseText } = request;
      if (status < 200 || status > 299) {
        reject(troubleOf(status, request.getResponseHeader("Retry-After"), responseText));
        return;
      }
      resolve(JSON.parse(responseText));
    };
    signal.addEventListener(
      "abort",
      () => {
        request.abort();
        reject(signal.reason);
      },
      { once: true },
    );
    request.send(form);
  });
}

function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function unanswered() {
  return new Trouble("The server does not answer.", "It may have stopped, or the network is gone.");
}

function troubleOf(status, retryAfter, body) {
  let told = null;
  try {
    told = JSON.parse(body).error;
  } catch {
    told = null; // Something between us and the server answered, a proxy for example.
  }
  const sentence = told?.sentence ?? `The server answered with status ${status}.`;
  return new Trouble(sentence, told?.hint ?? "", status, Number(retryAfter) || 0);
}
