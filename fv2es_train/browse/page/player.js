// What is played of an utterance: its film from the corpus, the speaker's sound, and its waveform.

import { fill, make } from "../page/dom.js";
import { get } from "./server.js";

const SOURCE = {
  dataset: "The speaker's sound, as the dataset stores it.",
  corpus: "The speaker's sound, read from the corpus as for the spectrum.",
  spectrum: "This sound is estimated from the spectrum; the dataset stores no waveform.",
};
const NEARLY_S = 0.02;

/** One of the two that are played, and where in it the utterance lies. */
class Track {
  constructor(element, from, until) {
    Object.assign(this, { element, from, until });
    element.addEventListener("play", () => {
      if (this.at < -NEARLY_S || element.currentTime >= this.until - NEARLY_S) element.currentTime = this.from;
    });
  }

  /** Seconds since the start of the utterance. */
  get at() {
    return this.element.currentTime - this.from;
  }

  seek(seconds) {
    this.element.currentTime = this.from + seconds;
  }
}

export class Player {
  /** `playing` is what the server tells of the utterance; the element is not yet in the page. */
  constructor(id, playing) {
    this.name = encodeURIComponent(id);
    this.said = make("p", { class: "hint", role: "status", data: { testid: "playing" } });
    this.outline = make("div", { class: "outline" });
    this.element = make("div", { class: "player" }, this.outline, this.said);
    if (playing.sound) this.addSound();
    else this.said.textContent = "The utterance has no sound.";
    if (playing.video) this.addFilm(playing.video);
  }

  /** Play or pause: the film if there is one, else the sound. */
  toggle() {
    const element = (this.film ?? this.sound)?.element;
    if (!element) return;
    element.scrollIntoView({ block: "nearest" });
    if (element.paused) element.play().catch(() => {});
    else element.pause();
  }

  stop() {
    this.film?.element.pause();
    this.sound?.element.pause();
  }

  async addSound() {
    try {
      const found = await get(`v1/waveform?id=${this.name}`);
      const audio = make("audio", { controls: true, preload: "none", src: `v1/sound.wav?id=${this.name}`, "aria-label": "Sound", data: { testid: "sound" } });
      this.sound = this.follow(new Track(audio, 0, Infinity));
      this.draw(found);
      this.outline.after(audio, make("p", { class: "hint", text: SOURCE[found.source] }));
    } catch (error) {
      this.said.textContent = `The sound cannot be played: ${error.message}`;
    }
  }

  addFilm({ is_playable: isPlayable, start_s: start, end_s: end, most_s: most }) {
    const film = make("video", { controls: true, playsinline: true, "aria-label": "Film", data: { testid: "film" } });
    this.element.prepend(film);
    if (isPlayable) {
      film.preload = "metadata";
      film.src = `v1/recording?id=${this.name}#t=${start},${end}`;
      this.film = this.follow(new Track(film, start, end));
      const encode = () => {
        if (this.film.until === end) this.encode(film, most);
      };
      film.addEventListener("error", encode);
      film.addEventListener("loadedmetadata", () => {
        // This browser hears it, but does not know how its pictures are encoded.
        if (!film.videoWidth) encode();
      });
    } else {
      this.film = this.follow(new Track(film, 0, Infinity));
      this.encode(film, most);
    }
  }

  /** Let the server encode the excerpt, once it is to be played. */
  encode(film, most) {
    Object.assign(this.film, { from: 0, until: Infinity });
    film.preload = "none";
    film.src = `v1/film.webm?id=${this.name}`;
    const note = most ? `The film shows the first ${most} s.` : "";
    this.said.textContent = note;
    film.addEventListener("waiting", () => {
      if (!film.readyState) this.said.textContent = "The server encodes the film.";
    });
    film.addEventListener("loadeddata", () => {
      this.said.textContent = note;
    });
    film.addEventListener("error", () => {
      get(`v1/film.webm?id=${this.name}`).catch((error) => {
        this.said.textContent = `The film cannot be played: ${error.message}`;
      });
    });
  }

  /** One plays at a time, to the end of the utterance; a line in the waveform shows where. */
  follow(track) {
    const { element } = track;
    const step = () => {
      if (element.currentTime >= track.until) element.pause();
      this.cursor?.setAttribute("x1", track.at);
      this.cursor?.setAttribute("x2", track.at);
      if (!element.paused && element.isConnected) requestAnimationFrame(step);
    };
    element.addEventListener("play", () => {
      for (const other of [this.film, this.sound]) if (other && other !== track) other.element.pause();
      step();
    });
    element.addEventListener("seeked", step);
    return track;
  }

  draw({ seconds, outline }) {
    if (!outline.length) return;
    const peak = Math.max(...outline.flat().map(Math.abs));
    const told = peak ? `peak ${(20 * Math.log10(peak)).toFixed(1)} dB of full scale` : "silence";
    const width = seconds / outline.length;
    // Half a pixel at least, so that silence is a line.
    const least = 0.012;
    const edge = (side, sign) => outline.map((pair, n) => {
      const level = sign * Math.max(sign * pair[side] / (peak || 1), least);
      return `${((n + 0.5) * width).toFixed(4)} ${(-level).toFixed(4)}`;
    });
    const picture = svg("svg", { viewBox: `0 -1.04 ${seconds} 2.08`, preserveAspectRatio: "none", role: "img", "aria-label": `Waveform of ${seconds.toFixed(1)} s, ${told}`, "data-testid": "waveform" });
    this.cursor = svg("line", { class: "cursor", x1: 0, x2: 0, y1: -1.04, y2: 1.04 });
    picture.append(svg("path", { d: `M${[...edge(1, 1), ...edge(0, -1).reverse()].join("L")}Z` }), this.cursor);
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      (this.film ?? this.sound)?.seek((seconds * (event.clientX - box.left)) / box.width);
    });
    fill(this.outline, picture, make("p", { class: "hint scale", text: `${seconds.toFixed(2)} s, ${told}` }));
  }
}

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
