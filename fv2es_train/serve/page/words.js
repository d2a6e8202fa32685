// Corrected words that are not scored yet. Owns them and telling whether they differ.

/** Corrections by the id of the utterance; several faces of one utterance share its words. */
export class Words {
  #changed = new Map();

  get count() {
    return this.#changed.size;
  }

  /** Whether an utterance has other words than those that were scored. */
  has(one) {
    return this.#changed.has(one.id);
  }

  /** The words as they stand: null where they are not known. */
  of(one) {
    return this.#changed.has(one.id) ? this.#changed.get(one.id) : one.text;
  }

  /** Take words; those that were scored are no correction. */
  set(one, text) {
    if (text === one.text) this.#changed.delete(one.id);
    else this.#changed.set(one.id, text);
  }

  /** Forget all corrections. */
  clear() {
    this.#changed.clear();
  }

  /** What the server is asked: id -> words. */
  toJson() {
    return Object.fromEntries(this.#changed);
  }
}

/** Before and after another scoring: finds what an utterance, or a face in it, was. */
export class Before {
  #old;

  constructor(utterances) {
    this.#old = new Map(utterances.map((one) => [keyOf(one), one]));
  }

  /** The utterance as it was; null where nothing of it is different. */
  of(one) {
    const old = this.#old.get(keyOf(one));
    if (!old) return null;
    const same =
      old.text === one.text && JSON.stringify(old.probability) === JSON.stringify(one.probability);
    return same ? null : old;
  }
}

function keyOf(one) {
  return JSON.stringify([one.id, one.speaker]);
}
