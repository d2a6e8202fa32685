"""Section k: encoders compared with a plain loop; memory for long sound; rewriting shards.

The encoders have the sizes of well-known ones, but random weights, which do not affect the time.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.apart import call_apart
from benchmarks.results import Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "features of encoders"
KINDS = {"hubert": "audio", "whisper": "audio", "vit": "video", "bert": "text"}
_SIZES = {
    "hubert": "12 layers of 768, as HuBERT base",
    "whisper": "4 layers of 384, as Whisper tiny",
    "vit": "12 layers of 384, 224 px, as ViT small",
    "bert": "6 layers of 384, as MiniLM",
}
_LEAST, _RATE_HZ = 2.0, 16_000
_WAYS = ("plain loop", "batches", "processes")


def measure(bench: Bench) -> Section:
    with tempfile.TemporaryDirectory(dir=bench.out) as folder:
        found = {
            name: call_apart("features:throughput", name=name, folder=folder, quick=bench.quick)
            for name in KINDS
        }
        memory = [
            call_apart("features:long_sound", threads=1, folder=folder, seconds=seconds)
            for seconds in ((60, 300) if bench.quick else (60, 3600))
        ]
        rewriting = call_apart("features:rewriting", folder=folder)
    rows = tuple(
        (
            f"{name}: {_SIZES[name]}",
            one["units"],
            *(one["seconds"][way] for way in _WAYS),
            *(one["seconds"][_WAYS[0]] / one["seconds"][way] for way in _WAYS[1:]),
            one["gflop"] / one["seconds"][_WAYS[0]] / one["peak_gflop_s"],
            one["difference"],
        )
        for name, one in found.items()
    )
    columns = ("encoder", "utterances", *(f"{way}, s" for way in _WAYS))
    columns += ("batches, times", "processes, times", "plain loop / sgemm", "relative difference")
    growth = memory[1]["peak_bytes"] - memory[0]["peak_bytes"]
    span = memory[1]["seconds"] - memory[0]["seconds"]
    each = tuple((one["seconds"], one["peak_bytes"] / 1e6, one["took_s"]) for one in memory)
    tables = (
        Table(f"best of {found['bert']['rounds']} rounds", columns, rows),
        Table("one sound, HuBERT base with a layer", ("seconds", "peak MB", "took s"), each),
    )
    best = [max(row[5], row[6]) for row in rows]
    verdicts = (
        *(
            Verdict(f"{name}: best way / plain loop", value, _LEAST)
            for name, value in zip(found, best, strict=True)
        ),
        Verdict(
            "memory for each further second of sound, kB", growth / span / 1e3, 1000, "at most"
        ),
    )
    notes = (
        f"{bench.cores} cores; processes: one for each core, with one thread",
        "plain loop / sgemm: its operations a second, as a share of those of a large product",
        f"rewriting {rewriting['bytes'] / 1e6:.0f} MB of shards without a stage took "
        f"{rewriting['took_s']:.2f} s",
    )
    data = {"throughput": found, "memory": memory, "rewriting": rewriting}
    return Section(tables, verdicts, notes, data)


def throughput(name: str, folder: str, quick: bool) -> dict[str, Any]:
    """Measure the seconds of each way over the same utterances, in a separate process."""
    kind, directory = KINDS[name], model_directory(name, Path(folder))
    values = inputs_of(name, quick)
    encode = encoder_of(kind, directory)
    spawned = multiprocessing.get_context("spawn").Pool(2, _start, (kind, directory))
    ways: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
        "plain loop": lambda values: _plain(name, directory, values),
        "batches": encode,
        "processes": lambda values: _spread(spawned, values),
    }
    seconds = dict.fromkeys(ways, float("inf"))
    rows: dict[str, list[Any]] = {}
    rounds = 2
    with spawned:
        for run in ways.values():
            run(values[:2])
        for _ in range(rounds):
            for way, run in ways.items():
                began = time.perf_counter()
                rows[way] = run(values)
                seconds[way] = min(seconds[way], time.perf_counter() - began)
    pairs = [p for way in _WAYS[1:] for p in zip(rows[way], rows["plain loop"], strict=True)]
    difference = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
    told = {"seconds": seconds, "difference": difference, "rounds": rounds}
    told |= {"gflop": _gflop(lambda: ways["plain loop"](values)), "peak_gflop_s": _peak_gflop_s()}
    return {**told, "units": len(values), "media_s": _media_s(kind, values)}


def _gflop(run: Callable[[], object]) -> float:
    """Count 10^9 floating-point operations of matrix products and convolutions in ``run``."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def _peak_gflop_s() -> float:
    """10^9 operations per second of a large float32 matrix product on all threads."""
    import torch

    one, other = torch.rand(2, 2048, 2048)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - began)
    return float(2 * 2048**3 / min(seconds) / 1e9)


def _spread(pool: Any, values: Sequence[Any]) -> list[Any]:
    halves = pool.map(_run, [values[0::2], values[1::2]], chunksize=1)
    return [halves[place % 2][place // 2] for place in range(len(values))]


_worker: list[Any] = []


def _start(kind: str, directory: Path) -> None:
    import torch

    torch.set_num_threads(1)
    _worker.append(encoder_of(kind, directory))


def _run(values: Sequence[Any]) -> Any:
    return _worker[0](values)


def encoder_of(
    kind: str, directory: Path, device: str = "cpu"
) -> Callable[[Sequence[Any]], list[Any]]:
    """Return a function that computes the features of utterances with an encoder."""
    from fv2es_prep.config import PrepSettings
    from fv2es_prep.stages.encoders.encoder_settings import EncoderOptions
    from fv2es_prep.stages.encoders.encoder_source import describe_encoder
    from fv2es_prep.stages.registry import StageContext, load_stage

    stage = f"{kind}-bench"
    described = describe_encoder(stage, str(directory), EncoderOptions())
    settings = PrepSettings(stages=("waveform", stage), others={stage: asdict(described)})
    context = StageContext(settings, "", (), device, ((stage, str(directory)),))
    return lambda values: context.make_many(load_stage(stage), [(value,) for value in values])


def _plain(name: str, directory: Path, values: Sequence[Any]) -> list[Any]:
    """Do the same with one call of transformers per utterance."""
    import torch
    import transformers as hf

    network, processor = _loaded(name, directory)
    rows = []
    with torch.no_grad():
        for value in values:
            if name == "bert":
                inputs = processor(value, return_tensors="pt")
                rows.append(network(**inputs).last_hidden_state[0].numpy())
            elif name == "vit":
                inputs = processor(images=list(value.rgb), return_tensors="pt")
                rows.append(network(**inputs).last_hidden_state[:, 0].numpy())
            else:
                sound = value.astype(np.float32) / 32767
                inputs = processor(sound, sampling_rate=_RATE_HZ, return_tensors="pt")
                if isinstance(network, hf.WhisperModel):
                    states = network.encoder(inputs["input_features"]).last_hidden_state[0]
                    rows.append(states[: -(-len(sound) // 320)].numpy())
                else:
                    rows.append(network(inputs["input_values"]).last_hidden_state[0].numpy())
    return rows


_kept: dict[Path, Any] = {}


def _loaded(name: str, directory: Path) -> Any:
    import transformers as hf

    if directory not in _kept:
        kinds = {"bert": "AutoTokenizer", "vit": "AutoImageProcessor"}
        processor = getattr(hf, kinds.get(name, "AutoFeatureExtractor"))
        network = hf.AutoModel.from_pretrained(directory).eval()
        _kept[directory] = network, processor.from_pretrained(directory)
    return _kept[directory]


def model_directory(name: str, folder: Path, layers: int | None = None) -> Path:
    """Make an encoder and return its directory."""
    import torch
    import transformers as hf

    directory = folder / f"{name}-{layers or 'all'}"
    if directory.exists():
        return directory
    torch.manual_seed(0)
    small = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    if name == "hubert":
        hf.HubertModel(hf.HubertConfig(num_hidden_layers=layers or 12)).save_pretrained(directory)
        hf.Wav2Vec2FeatureExtractor().save_pretrained(directory)
    elif name == "whisper":
        hf.WhisperModel(hf.WhisperConfig()).save_pretrained(directory)
        hf.WhisperFeatureExtractor().save_pretrained(directory)
    elif name == "vit":
        hf.ViTModel(hf.ViTConfig(**small)).save_pretrained(directory)
        hf.ViTImageProcessor().save_pretrained(directory)
    else:
        from fv2es_prep.demo import make_text_model

        make_text_model(directory)
        tokenizer = hf.AutoTokenizer.from_pretrained(directory)
        config = hf.BertConfig(**small, num_hidden_layers=6, vocab_size=len(tokenizer))
        hf.BertModel(config).save_pretrained(directory)
    return directory


def inputs_of(name: str, quick: bool) -> list[Any]:
    """Make utterances with the sizes of a real corpus: 1 to 6 s, 5 to 25 words, 2 to 12 faces."""
    rng, kind = np.random.default_rng(0), KINDS[name]
    if kind == "text":
        words = "I am so very happy to see you here today and not afraid".split()  # noqa: SIM905
        lengths = rng.integers(5, 25, 128 if quick else 1024)
        return [" ".join(rng.choice(words, length)) for length in lengths]
    if kind == "video":
        return [_faces(rng, int(count)) for count in rng.integers(2, 12, 8 if quick else 64)]
    count = {"hubert": 8, "whisper": 6}[name] if quick else 64
    return [_sound(rng, seconds) for seconds in rng.uniform(1, 6, count)]


def _sound(rng: Any, seconds: float) -> Any:
    return rng.normal(0, 3000, int(seconds * _RATE_HZ)).astype(np.int16)


def _faces(rng: Any, count: int) -> Any:
    from fv2es_prep.types import Faces

    return Faces(
        rng.integers(0, 255, (count, 48, 48, 3), np.uint8),
        np.arange(count) / 2,
        np.ones(count, np.bool_),
        np.zeros((count, 4), np.float32),
        np.ones(count, np.float32),
    )


def _media_s(kind: str, values: Sequence[Any]) -> float:
    """Seconds of a corpus with these utterances, at two faces and 2.5 words per second."""
    if kind == "text":
        return sum(len(value.split()) for value in values) / 2.5
    if kind == "video":
        return sum(len(value.rgb) for value in values) / 2
    return float(sum(len(value) for value in values) / _RATE_HZ)


def long_sound(folder: str, seconds: int) -> dict[str, Any]:
    """Encode one sound of ``seconds``; `call_apart` returns the peak memory."""
    encode = encoder_of("audio", model_directory("hubert", Path(folder), layers=1))
    sound = _sound(np.random.default_rng(0), seconds)
    began = time.perf_counter()
    (rows,) = encode([sound])
    return {"seconds": seconds, "rows": len(rows), "took_s": time.perf_counter() - began}


def rewriting(folder: str) -> dict[str, Any]:
    """Seconds to rewrite all shards of a dataset, as `fv2es shards add` does."""
    from fv2es_prep.config import PrepSettings
    from fv2es_prep.shards.dropped import write_dropped
    from fv2es_prep.shards.index import make_index, write_index
    from fv2es_prep.shards.tools.restage import drop_stages
    from fv2es_prep.shards.writer import ShardHeader, ShardWriter
    from fv2es_prep.stages.registry import sections_of
    from fv2es_prep.types import Example, ShardReceipt, Utterance

    names, place, rng = ("waveform", "mfcc"), Path(folder) / "rewriting", np.random.default_rng(0)
    place.mkdir()
    settings = PrepSettings(stages=names, others=sections_of(names), require="")
    receipts = []
    for number in range(4):
        recording = f"r{number}"
        media = {recording: ("0" * 64, "1" * 64)}
        header = ShardHeader("bench", ("a",), (), settings, media, f"{number:064d}")
        path = place / f"bench-{number:05d}.h5"
        with ShardWriter(path, header) as writer:
            for row in range(150):
                at_s = 4.0 * row
                one = Utterance(f"{recording}-{row:03d}", recording, at_s, at_s + 3, "", ("a",))
                parts = {"waveform": _sound(rng, 3), "mfcc": np.zeros((240, 40), np.float32)}
                writer.append(Example(one, np.ones(1, np.uint8), **parts))
            receipts.append(ShardReceipt(path.name, *writer.close(), 150, header.task_digest))
    write_dropped(place, [])
    write_index(place, make_index("bench", ("a",), (), settings, receipts))
    began = time.perf_counter()
    index = drop_stages(place, ["mfcc"])
    return {"bytes": index.size_bytes, "took_s": time.perf_counter() - began}


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    found = data["throughput"]
    for place, way in enumerate(_WAYS):
        rates = [one["media_s"] / one["seconds"][way] for one in found.values()]
        places = [number + 0.25 * place for number in range(len(found))]
        axes.bar_label(axes.bar(places, rates, 0.25, label=way), fmt="%.1f", padding=2)
    axes.set(xticks=range(len(found)), xticklabels=found, ylabel="seconds of corpus a second")
    axes.set_yscale("log")
    axes.legend()
