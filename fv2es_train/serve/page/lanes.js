// Which utterance is drawn where on the time line. Owns the lanes of speakers and finding by place.

const MOST_LANES = 6;

/**
 * The lanes: one for each speaker or face, in the order of their names.
 *
 * Where one speaker has utterances that overlap they lie on one another, as in the video.
 */
export class Lanes {
  constructor(utterances) {
    this.speakers = [...new Set(utterances.map((one) => one.speaker))].sort();
    this.count = Math.max(1, Math.min(this.speakers.length, MOST_LANES));
    const place = new Map(this.speakers.map((name, number) => [name, number % this.count]));
    this.of = (one) => place.get(one.speaker) ?? 0;
  }

  /** What the lanes are, in words; empty where there is one speaker. */
  get sentence() {
    return this.speakers.length > 1
      ? `From top to bottom of each row: ${this.speakers.join(", ")}.`
      : "";
  }
}
