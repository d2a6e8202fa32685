"""The sound of the demo dialogues: pulses through formants, shaped by the emotion."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fv2es_prep.demo.script import Dialogue, Turn

SAMPLE_RATE = 16_000
_CROSS_TALK = 10 ** (-26 / 20)
_NOISE_LEVEL = 0.0008

Signal = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Manner:
    """How an emotion sounds."""

    pitch: float  # factor on the speaker's pitch
    swing: float  # change of pitch on each syllable, semitones
    slope: float  # change of pitch over the turn, semitones
    rate: float  # syllables per second
    energy: float  # factor on amplitude
    tilt: float  # pole of the low-pass on the pulses; nearer to 1 is duller
    breath: float  # share of noise in the source
    tremor: float  # depth of the 6 Hz amplitude beat, 0 to 1
    jitter: float  # irregularity of the pulses, as a share of pitch
    bright: float  # factor on the formants; a smile shortens the tract


_MANNERS = {
    "ang": _Manner(1.30, 3.0, -3.0, 5.8, 1.00, 0.45, 0.03, 0.10, 0.060, 1.00),
    "exc": _Manner(1.75, 6.0, 4.0, 6.2, 0.85, 0.60, 0.02, 0.10, 0.015, 1.06),
    "fru": _Manner(1.05, 2.0, -3.0, 4.0, 0.65, 0.80, 0.30, 0.10, 0.030, 0.95),
    "hap": _Manner(1.40, 4.0, 1.0, 4.6, 0.60, 0.75, 0.05, 0.60, 0.010, 1.14),
    "neu": _Manner(1.00, 1.0, -1.0, 4.6, 0.45, 0.86, 0.03, 0.00, 0.010, 1.00),
    "sad": _Manner(0.85, 0.6, -2.0, 2.8, 0.22, 0.95, 0.12, 0.35, 0.020, 0.93),
}
# Formants of five vowels of a grown man, Hz.
_VOWELS = (
    (730.0, 1090.0, 2440.0, 3400.0),
    (530.0, 1840.0, 2480.0, 3500.0),
    (270.0, 2290.0, 3010.0, 3600.0),
    (570.0, 840.0, 2410.0, 3300.0),
    (300.0, 870.0, 2240.0, 3300.0),
)
_BANDWIDTHS_HZ = (80.0, 100.0, 140.0, 200.0)


# First sample, end sample, vowel, pitch shift in semitones.
_Syllable = tuple[int, int, int, float]
# A speaker's pitch in Hz, factor on the formants, factor on amplitude.
_Voice = tuple[float, float, float]


def speak_dialogue(dialogue: Dialogue, seed: int) -> npt.NDArray[np.int16]:
    """The sound of a dialogue, int16 (samples, 2), 16 kHz; channel 0 is the left speaker's."""
    rng = dialogue.chance(seed, 11)
    samples = round(dialogue.duration_s * SAMPLE_RATE)
    clean = np.zeros((samples, 2))
    voices = {sex: _make_voice(sex, dialogue.session, seed) for sex in "FM"}
    for turn in dialogue.turns:
        sound = _speak_turn(turn, voices[turn.speaker], rng)
        first = round(turn.start_s * SAMPLE_RATE)
        clean[first : first + len(sound), int(turn.speaker != dialogue.left)] += sound
    mixed = clean + _CROSS_TALK * clean[:, ::-1] + rng.normal(0, _NOISE_LEVEL, clean.shape)
    return (np.clip(mixed, -1, 1) * 32_767).astype(np.int16)


def _make_voice(sex: str, session: int, seed: int) -> _Voice:
    rng = np.random.default_rng([seed, session, ord(sex), 13])
    pitch, tract = (200.0, 1.15) if sex == "F" else (115.0, 1.0)
    pitch, tract = pitch * rng.uniform(0.93, 1.07), tract * rng.uniform(0.97, 1.03)
    return pitch, tract, rng.uniform(0.85, 1.15)


def _speak_turn(turn: Turn, voice: _Voice, rng: np.random.Generator) -> Signal:
    """The sound of a turn, shape (samples,), peak below 1."""
    from scipy.signal import lfilter

    manner, (pitch_hz, tract, gain) = _MANNERS[turn.voice], voice
    samples = round((turn.end_s - turn.start_s) * SAMPLE_RATE)
    syllables = _syllables(samples, manner, rng)
    source = _pulses(samples, syllables, manner, pitch_hz, rng)
    source += manner.breath * rng.normal(0, 0.25, samples)
    # Scaled so that a duller source is not a louder one.
    dull = lfilter([1 - manner.tilt], [1, -manner.tilt], source)
    voiced = _articulate(dull, syllables, tract * manner.bright)
    level = 0.12 * manner.energy * gain * rng.uniform(0.85, 1.15)
    shaped = voiced * _envelope(samples, syllables, manner)
    rms = float(np.sqrt(np.mean(shaped**2))) + 1e-9
    return shaped * (level / rms)


def _syllables(samples: int, manner: _Manner, rng: np.random.Generator) -> list[_Syllable]:
    count = max(2, round(samples / SAMPLE_RATE * manner.rate))
    widths = rng.uniform(0.75, 1.25, count)
    edges = np.concatenate([[0], np.cumsum(widths) / widths.sum()]) * samples
    bounds = edges.round().astype(int).tolist()
    shifts = manner.swing * rng.uniform(-1, 1, count)
    vowels = rng.integers(len(_VOWELS), size=count)
    return list(zip(bounds, bounds[1:], vowels.tolist(), shifts.tolist(), strict=False))


def _pulses(
    samples: int,
    syllables: list[_Syllable],
    manner: _Manner,
    base_hz: float,
    rng: np.random.Generator,
) -> Signal:
    """The glottal source: a pulse at each whole turn of the phase, shape (samples,)."""
    semitones = manner.slope * (np.linspace(0, 1, samples) - 0.5)
    for first, end, _, shift in syllables:
        semitones[first:end] += shift * np.hanning(end - first)
    # Jitter changes every 5 ms: slower than a sample, faster than a syllable.
    rough = np.repeat(rng.normal(0, manner.jitter, samples // 80 + 1), 80)[:samples]
    vibrato = 0.01 * np.sin(2 * np.pi * 5.5 * np.arange(samples) / SAMPLE_RATE)
    pitch_hz = base_hz * manner.pitch * 2 ** (semitones / 12) * (1 + rough + vibrato)
    phase = np.cumsum(pitch_hz / SAMPLE_RATE)
    return np.diff(np.floor(phase), prepend=0.0) * 4.0


def _articulate(source: Signal, syllables: list[_Syllable], tract: float) -> Signal:
    """The source through the formants of each syllable's vowel."""
    voiced = np.zeros_like(source)
    for vowel in {syllable[2] for syllable in syllables}:
        heard = _resonate(source, tuple(tract * hz for hz in _VOWELS[vowel]))
        for first, end, which, _ in syllables:
            if which == vowel:
                voiced[first:end] = heard[first:end]
    return voiced


def _resonate(source: Signal, formants_hz: tuple[float, ...]) -> Signal:
    """The sum of parallel two-pole resonators, weaker with each formant."""
    from scipy.signal import lfilter

    total = np.zeros_like(source)
    for order, (hz, width) in enumerate(zip(formants_hz, _BANDWIDTHS_HZ, strict=True)):
        radius = np.exp(-np.pi * width / SAMPLE_RATE)
        poles = [1, -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius**2]
        total += 0.6**order * lfilter([1 - radius], poles, source)
    return total


def _envelope(samples: int, syllables: list[_Syllable], manner: _Manner) -> Signal:
    """Amplitude over the turn: a bump for each syllable, times the tremor."""
    bumps = np.zeros(samples)
    for first, end, _, _ in syllables:
        bumps[first:end] = 0.15 + 0.85 * np.hanning(end - first) ** 0.7
    beat = 1 - manner.tremor * (
        0.5 + 0.5 * np.sin(2 * np.pi * 6 * np.arange(samples) / SAMPLE_RATE)
    )
    fade = np.minimum(1, np.minimum(np.arange(samples), np.arange(samples)[::-1]) / 400)
    return bumps * beat * fade
