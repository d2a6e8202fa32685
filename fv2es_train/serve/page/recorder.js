// Recording from camera and microphone. Owns the stream and the file that comes out.

import { byId, show } from "./dom.js";
import { clock } from "./format.js";

const KINDS = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];
const REFUSED = {
  NotAllowedError:
    "The browser may not use the camera. Allow it beside the address, then try again.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is in use by another program.",
};

/**
 * The panel in which a video is recorded.
 *
 * `onFile(file)` is called with each recording; `longest_s()` tells how long one may be.
 */
export class Recorder {
  #stream = null;
  #recorder = null;
  #parts = [];
  #timer = 0;

  constructor(onFile, longest) {
    this.onFile = onFile;
    this.longest = longest;
    byId("record-open").addEventListener("click", () => this.open());
    byId("record-start").addEventListener("click", () => this.start());
    byId("record-stop").addEventListener("click", () => this.stop());
    byId("record-close").addEventListener("click", () => this.close());
  }

  /** Switch the camera on and show its picture, or say why that cannot be. */
  async open() {
    this.#shown(true);
    show(false, byId("record-start"), byId("record-stop"), byId("live"));
    byId("record-time").textContent = "";
    const why = impossible();
    if (why) {
      this.#say(why);
      return;
    }
    this.#say("Asking for the camera and the microphone.");
    try {
      this.#stream = await openStream();
    } catch (error) {
      this.#say(REFUSED[error.name] ?? `The camera cannot be opened (${error.name}).`);
      return;
    }
    byId("live").srcObject = this.#stream;
    await byId("live")
      .play()
      .catch(() => {}); // It goes on without being watched.
    show(true, byId("live"), byId("record-start"));
    this.#say(
      this.#stream.getAudioTracks().length
        ? "Camera and microphone are on. Nothing is recorded yet."
        : "The camera is on; no microphone was found. Nothing is recorded yet.",
    );
  }

  /** Begin to record. */
  start() {
    const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one));
    this.#parts = [];
    this.#recorder = new MediaRecorder(this.#stream, kind ? { mimeType: kind } : {});
    this.#recorder.ondataavailable = (event) => this.#parts.push(event.data);
    this.#recorder.onstop = () => this.#finish();
    this.#recorder.start(1000);
    show(false, byId("record-start"));
    show(true, byId("record-stop"));
    byId("record-stop").focus();
    const began = performance.now();
    this.#timer = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      byId("record-time").textContent = clock(seconds, 0);
      if (seconds >= this.longest()) this.stop();
    }, 500);
    byId("record-time").textContent = clock(0, 0);
    this.#say("Recording.");
  }

  /** End the recording. */
  stop() {
    clearInterval(this.#timer);
    if (this.#recorder?.state === "recording") this.#recorder.stop();
  }

  /** Switch the camera off; what was recorded up to now is kept. */
  close() {
    this.stop();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    byId("live").srcObject = null;
    this.#shown(false);
  }

  #finish() {
    const type = (this.#recorder.mimeType || "video/webm").split(";")[0];
    const ending = type.endsWith("mp4") ? "mp4" : "webm";
    const name = `recording-${stamp()}.${ending}`;
    this.close();
    this.onFile(new File(this.#parts, name, { type }));
    this.#parts = [];
  }

  #shown(open) {
    show(open, byId("recorder"));
    byId("record-open").setAttribute("aria-expanded", String(open));
  }

  #say(sentence) {
    byId("record-state").textContent = sentence;
  }
}

function impossible() {
  if (!window.isSecureContext) {
    return "The camera can be used only on a secure page: open this page by https or as localhost.";
  }
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
    return "This browser cannot record. Record with another program and choose the file.";
  }
  return "";
}

async function openStream() {
  const video = { width: { ideal: 1280 }, height: { ideal: 720 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: true });
  } catch (error) {
    if (error.name !== "NotFoundError") throw error;
    // One of the two is missing; faces alone can be scored.
    return navigator.mediaDevices.getUserMedia({ video });
  }
}

function stamp() {
  const two = (number) => String(number).padStart(2, "0");
  const now = new Date();
  const day = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
  return `${day}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
}
