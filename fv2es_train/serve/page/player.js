// The video and what is drawn over it. Owns playing, seeking, face boxes and the decision at them.

import { byId, show } from "./dom.js";
import { chance, isOn } from "./format.js";
import { decision } from "./names.js";

const FOUND = "#3ce05a";
const STANDS_IN = "#f2c230";
const LABEL_PX = 14;
// A place beyond any end: a browser that seeks there finds out how long a recording is.
const BEYOND_S = 1e9;

/** The video; `onTime(seconds)` is called with each picture and after each jump. */
export class Player {
  #url = "";
  #utterances = [];
  #wanted = null;

  constructor(onTime) {
    this.onTime = onTime;
    this.video = byId("film");
    this.canvas = byId("over");
    for (const kind of ["play", "seeked", "timeupdate", "pause", "loadeddata", "durationchange"]) {
      this.video.addEventListener(kind, () => this.#tick());
    }
    this.video.addEventListener("loadedmetadata", () => this.#ready());
    this.video.addEventListener("error", () => this.#fails());
    byId("boxes").addEventListener("change", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this.video);
    this.#loop();
  }

  get seconds() {
    return this.#wanted ?? this.video.currentTime;
  }

  get playing() {
    return !this.video.paused && !this.video.ended;
  }

  /** Seconds that the video lasts; NaN where that is not known. */
  get length_s() {
    return this.video.duration < BEYOND_S ? this.video.duration : NaN;
  }

  /** Play a file or an address. */
  load(source) {
    this.unload();
    this.#url = source instanceof Blob ? URL.createObjectURL(source) : "";
    this.video.src = this.#url || source;
    show(true, this.video);
  }

  /** Let go of the video, and say why there is none where that is known. */
  unload(why = "") {
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = "";
    this.#wanted = null;
    byId("film-note").textContent = why;
    show(Boolean(why), byId("film-note"));
  }

  /** Take the utterances whose boxes are drawn. */
  tell(utterances) {
    this.#utterances = utterances;
    this.#tick();
  }

  /** Go to a moment, also where there is nothing to play: the rest of the page goes along. */
  seek(seconds) {
    const to = Math.max(0, seconds);
    if (this.video.readyState === 0) this.#wanted = to;
    else {
      this.#wanted = null;
      this.video.currentTime = to;
    }
    this.#tick();
  }

  #ready() {
    // A recording of a browser has no length in its header; without it there is no seeking.
    if (this.video.duration === Infinity) {
      this.video.addEventListener(
        "durationchange",
        () => {
          this.video.currentTime = 0;
        },
        { once: true },
      );
      this.video.currentTime = BEYOND_S;
    }
    if (this.#wanted !== null) this.seek(this.#wanted);
  }

  #fails() {
    if (!this.video.getAttribute("src")) return;
    this.unload("This browser cannot play the video. The results below are not affected.");
  }

  #loop() {
    requestAnimationFrame(() => {
      if (this.playing) this.#tick();
      this.#loop();
    });
  }

  #tick() {
    this.#draw();
    this.onTime(this.seconds);
  }

  #draw() {
    const { video, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [video.clientWidth, video.clientHeight];
    if (
      canvas.width !== Math.round(width * ratio) ||
      canvas.height !== Math.round(height * ratio)
    ) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    delete canvas.dataset.drawn;
    if (!video.videoWidth || !byId("boxes").checked) return;
    const area = pictureArea(video);
    const drawn = this.#utterances.filter(
      (one) => isOn(one, this.seconds) && drawBox(pen, one, this.seconds, area),
    );
    canvas.dataset.drawn = drawn.map((one) => one.id).join(" ");
  }
}

/** Where the picture lies in the element: black bars are no part of it. */
function pictureArea(video) {
  const scale = Math.min(
    video.clientWidth / video.videoWidth,
    video.clientHeight / video.videoHeight,
  );
  const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
  return {
    left: (video.clientWidth - width) / 2,
    top: (video.clientHeight - height) / 2,
    width,
    height,
  };
}

/** Draw the box of the last sampled moment; tells whether there is one. */
function drawBox(pen, one, seconds, area) {
  // Without a verified face the picture says nothing.
  if (!one.used.includes("v")) return false;
  // A jump to the first sampled moment may end a hair before it.
  const place = one.places.findLast((spot) => spot.time_s <= seconds + 0.02) ?? one.places[0];
  if (!place) return false;
  const left = area.left + place.left * area.width;
  const top = area.top + place.top * area.height;
  const [width, height] = [place.width * area.width, place.height * area.height];
  pen.lineWidth = 2.5;
  pen.strokeStyle = place.found ? FOUND : STANDS_IN;
  pen.setLineDash(place.found ? [] : [6, 4]);
  pen.strokeRect(left, top, width, height);
  drawLabel(pen, labelOf(one), left, top, area);
  return true;
}

function labelOf(one) {
  return one.decided.length
    ? `${decision(one)} ${chance(one.probability[one.top])}`
    : decision(one);
}

function drawLabel(pen, text, left, top, area) {
  pen.font = `600 ${LABEL_PX}px ${getComputedStyle(document.body).fontFamily}`;
  const width = pen.measureText(text).width + 10;
  const height = LABEL_PX + 8;
  const x = Math.max(area.left, Math.min(left - 1, area.left + area.width - width));
  const y = Math.max(area.top, top - height - 1);
  pen.fillStyle = "rgba(12, 16, 24, 0.82)";
  pen.fillRect(x, y, width, height);
  pen.fillStyle = pen.strokeStyle;
  pen.textBaseline = "middle";
  pen.fillText(text, x + 5, y + height / 2 + 1);
}
