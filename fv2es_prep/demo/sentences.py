"""What the demo speakers say: templates that carry an emotion, and the words that fill them.

Owns the words. Who says a sentence, and when, is planned in script.py.
"""

import numpy as np

EMOTIONS = ("ang", "exc", "fru", "hap", "neu", "sad")

_OPENERS = ("", "", "Well,", "Look,", "You know,", "I mean,", "Okay,", "Oh,", "So,", "Listen,")
_SLOTS = {
    "person": ("my brother", "your sister", "the manager", "my neighbor", "the doctor", "Anna"),
    "thing": ("the ticket", "the letter", "the car", "this form", "the house", "the phone"),
    "time": ("today", "this morning", "last night", "again", "this week", "on Sunday"),
}
_TEMPLATES = {
    "ang": (
        "how dare you touch {thing} {time}",
        "get out of here and shut up",
        "I hate the way {person} lies to me",
        "don't you ever yell at me {time}",
        "you stupid liar, give me {thing}",
        "I am furious with {person} {time}",
        "shut up about {thing}, you idiot",
        "{person} is a damn liar, get out",
    ),
    "exc": (
        "oh my god, we won {thing} {time}",
        "I can't believe it, {person} said yes",
        "this is amazing, we are going {time}",
        "guess what, I got the part {time}",
        "wow, I got accepted, I got in",
        "we are getting married, tell {person}",
        "wow, {person} really won {thing}",
        "this is incredible, guess who called {time}",
    ),
    "fru": (
        "I already gave you {thing} three times",
        "this line is not moving, it never does",
        "why does nobody ever fix {thing}",
        "I keep asking and {person} keeps stalling",
        "there must be somebody else to ask {time}",
        "that makes no sense, I tried {thing} {time}",
        "it is always the same problem with {thing}",
        "nobody ever explains why I keep waiting",
    ),
    "hap": (
        "I had such a lovely time {time}",
        "that is so sweet of {person}",
        "I'm really glad {person} came {time}",
        "it makes me smile to see {thing}",
        "we laughed so much with {person} {time}",
        "thank you, that was wonderful {time}",
        "I love {thing}, it is so nice",
        "what a lovely smile {person} has",
    ),
    "neu": (
        "please put {thing} on the table",
        "{person} will be at the office {time}",
        "do you have an address and a number",
        "I think {thing} is in the other room",
        "the meeting starts at nine {time}",
        "you can fill in the second page",
        "where did {person} put {thing}",
        "the number is on the second page",
    ),
    "sad": (
        "I miss {person} so much {time}",
        "I cried after {person} died",
        "it hurts, I feel so alone {time}",
        "I'm sorry, {person} is gone forever",
        "I lost {thing} and I lost everything",
        "I can't stop crying about {person}",
        "everything feels so empty without {person}",
        "I feel lonely and lost {time}",
    ),
}
_DIRECTIONS = {
    "ang": "[GARBAGE]",
    "exc": "[LAUGHTER]",
    "fru": "[BREATHING]",
    "hap": "[LAUGHTER]",
    "neu": "[LIPSMACK]",
    "sad": "[BREATHING]",
}
_DIRECTION_SHARE = 0.08
_MIN_WORDS, _MAX_WORDS = 4, 12


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """Draws one of the options."""
    return options[int(rng.integers(len(options)))]


def _fill(rng: np.random.Generator, emotion: str) -> str:
    """Fills a template of the emotion and puts an opener before it."""
    slots = {name: _pick(rng, options) for name, options in _SLOTS.items()}
    body = _pick(rng, _TEMPLATES[emotion]).format(**slots)
    opener = _pick(rng, _OPENERS)
    return f"{opener} {body}" if opener else body[0].upper() + body[1:]


def make_sentence(rng: np.random.Generator, emotion: str) -> str:
    """Makes one sentence of 4 to 12 words whose words carry the emotion.

    Args:
        rng: random generator.
        emotion: one of EMOTIONS.

    Returns:
        ASCII text with an end mark; about one in twelve opens with a stage direction.
    """
    sentence = _fill(rng, emotion)
    while not _MIN_WORDS <= len(sentence.split()) <= _MAX_WORDS:
        sentence = _fill(rng, emotion)
    mark = "!" if emotion in ("ang", "exc") else "."
    direction = f"{_DIRECTIONS[emotion]} " if rng.random() < _DIRECTION_SHARE else ""
    return f"{direction}{sentence}{mark}"


def with_colon(sentence: str) -> str:
    """Puts a colon after the first word, as in "Okay: get out of here.".

    Readers that cut a transcript line at every colon lose the rest of such a text.
    """
    direction, bracket, words = sentence.rpartition("] ")
    first, rest = words.split(" ", 1)
    return f"{direction}{bracket}{first.rstrip(',')}: {rest}"
