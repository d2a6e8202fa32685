"""Published weights: the same logits, exact round trips, the published counts, strict names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.errors import SettingsError, UsageError
from fv2es_train.data.batches import Batch, collate
from fv2es_train.evaluation.evaluate import evaluate
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import FV2ES
from fv2es_train.models.fv2es_config import FV2ESConfig
from fv2es_train.models.published.convert import convert_file, count, export_run, read_state
from fv2es_train.models.published.mapping import from_published, published_name, to_published
from fv2es_train.models.published.sizes import config_of
from fv2es_train.models.text_encoder import from_config
from tests.train.conftest import CLASSES, VOCABULARY, Corpus, make_examples
from tests.train.published_net import Branches, PublishedNet

SMALL: dict[str, Any] = {
    "stem": 8,
    "stages": ((8, 8, 16), (24,), (32,)),
    "dims": (32, 32, 64),
    "depths": (1, 1, 2),
    "hidden": 48,
    "width": 32,
    "layers": 2,
    "vocabulary": VOCABULARY,
    "inner": 64,
}
SUBSETS = ("tav", "ta", "tv", "av", "t", "a", "v")
REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "state_dict.tsv"
HINT = "state dict of the published"


def published(modalities: str = "tav", **changes: Any) -> PublishedNet:
    """A small published network whose weights and statistics look trained."""
    torch.manual_seed(len(modalities))
    net = PublishedNet(modalities, **{**SMALL, **changes}).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                nn.init.uniform_(value, 0.5, 1.5)
            for value in (module.bias, module.running_mean):
                nn.init.normal_(value, std=0.3)
            module.num_batches_tracked.fill_(1234)
    return net


def save(net: nn.Module, path: Path) -> Path:
    torch.save(net.state_dict(), path)
    return path


def ragged() -> Batch:
    """Five utterances of different lengths."""
    batch = collate(make_examples(5), pad_id=0)
    assert min(len(set(batch.face_counts)), len(set(batch.chunk_counts))) > 1
    return batch


def answer(net: PublishedNet, batch: Batch) -> Tensor:
    """The published logits; tokens are padded to 100, as the published trainer asks for."""
    missing = 100 - batch.tokens.shape[1]
    text = {
        "input_ids": nn.functional.pad(batch.tokens, (0, missing)),
        "attention_mask": nn.functional.pad(batch.attention_mask, (0, missing)),
    }
    text["token_type_ids"] = torch.zeros_like(text["input_ids"])
    return net(batch.faces, batch.face_counts, batch.mel, batch.chunk_counts, text)


def convert(path: Path, out: Path, **options: Any) -> FV2ES:
    convert_file(path, out, **options)
    return load_checkpoint(out).model


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Bit by bit, types and names included."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("modalities", "ancestor"), [*((m, False) for m in SUBSETS), ("tav", True), ("av", True)]
)
@torch.no_grad()
def test_logits_are_the_published_ones_and_the_way_back_is_exact(
    modalities: str, ancestor: bool, tmp_path: Path
) -> None:
    net, batch = published(modalities, ancestor=ancestor), ragged()
    path = save(net, tmp_path / "net.pt")
    model = convert(path, tmp_path / "run", modalities=modalities)
    expected = answer(net, batch)
    assert model.config.name == ("mme2e" if ancestor else "fv2es")
    assert expected.std() > 1e-3
    assert torch.allclose(model(batch), expected, rtol=0, atol=1e-4)
    export_run(tmp_path / "run", tmp_path / "back.pt")
    same(torch.load(tmp_path / "back.pt", weights_only=True), net.state_dict())


@torch.no_grad()
def test_fused_weights_give_the_logits_of_their_branches(tmp_path: Path) -> None:
    net, batch = published(), ragged()
    expected = answer(net, batch)
    for place, block in enumerate(net.V):
        if isinstance(block, Branches):
            net.V[place] = block.fuse()
    assert torch.allclose(answer(net, batch), expected, rtol=0, atol=1e-4)
    model = convert(save(net, tmp_path / "net.pt"), tmp_path / "run")
    assert model.config.face_fused
    assert torch.allclose(model(batch), expected, rtol=0, atol=1e-4)
    export_run(tmp_path / "run", tmp_path / "back.safetensors")
    same(read_state(tmp_path / "back.safetensors"), net.state_dict())


def test_one_part_of_a_whole_model_is_taken_and_the_rest_is_kept(tmp_path: Path) -> None:
    net = published()
    model = convert(save(net, tmp_path / "net.pt"), tmp_path / "run", modalities="a")
    assert {name for name, _ in model.named_children()} == {"mel", "a_transformer", "a_out"}
    export_run(tmp_path / "run", tmp_path / "back.pt")
    same(read_state(tmp_path / "back.pt"), net.state_dict())


def test_wrappers_are_taken_off_and_ignored_names_are_kept(tmp_path: Path) -> None:
    state = published().state_dict()
    extra = {
        "mtcnn.pnet.conv1.weight": torch.ones(3),
        "T.albert.embeddings.position_ids": torch.arange(512)[None],
    }
    inside = {f"module.{name}": value for name, value in (state | extra).items()}
    torch.save({"state_dict": inside, "epoch": 3}, tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "back.pt")
    same(read_state(tmp_path / "back.pt"), state | extra)


@torch.no_grad()
def test_a_network_of_ours_goes_there_and_back(tmp_path: Path) -> None:
    state = published().state_dict()
    model, _ = from_published(state, config_of(state, "tav", 4, CLASSES))
    model.t_out.weight.fill_(0.25)
    exported = to_published(model)
    assert set(exported) == set(state)
    assert not exported["A.0.head.weight"].any()
    assert published().load_state_dict(exported)
    again, _ = from_published(exported, model.config)
    same(dict(again.state_dict()), dict(model.state_dict()))


def full(name: str = "fv2es") -> FV2ES:
    albert = {"model_type": "albert", "hidden_size": 768, "num_attention_heads": 12}
    with torch.device("meta"):
        config = replace(preset(name).model, label_classes=CLASSES)
        return FV2ES(config, from_config({**albert, "intermediate_size": 3072}))


def test_every_part_has_the_published_number_of_parameters() -> None:
    model = full()
    pooler, unused_head = 768 * 768 + 768, 1000 * 512 + 1000
    assert count(model.text) + pooler == 11_683_584
    assert count(model.face.stack) == 1_811_584
    assert count(model.mel.nest) + unused_head == 67_248_744
    assert count(model.face.project) == 4_785_216
    assert count(model.mel.project) == 33_621_056
    assert count(model.v_transformer) == count(model.a_transformer) == 1_124_672


def test_every_part_of_mme2e_has_the_published_number_of_parameters() -> None:
    model = full("mme2e")
    # In millions, as counted in the published code.
    parts = model.face.stack, model.mel.stack, model.face.project, model.mel.project
    assert [round(count(part) / 1e6, 2) for part in parts] == [4.80, 4.80, 4.79, 8.46]
    every = sum(count(part) for name, part in model.named_children() if name != "text")
    assert round(every / 1e6, 2) == 25.10


@pytest.mark.parametrize(("name", "weights"), [("fv2es", 520), ("mme2e", 292)])
def test_names_and_shapes_are_those_of_the_published_network_in_full_size(
    name: str, weights: int
) -> None:
    with torch.device("meta"):
        net = PublishedNet(ancestor=name == "mme2e")
    expected = {name: value for name, value in net.state_dict().items() if ".pooler." not in name}
    ours = {published_name(name): value for name, value in full(name).state_dict().items()}
    assert len(net.state_dict()) == weights
    assert {n: v.shape for n, v in expected.items() if ".head." not in n} == {
        n: v.shape for n, v in ours.items()
    }


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the published list of names is not here")
def test_names_and_shapes_are_those_of_the_published_list() -> None:
    listed = {}
    for line in REFERENCE.read_text().splitlines():
        name, shape, kind = line.split("\t")
        listed[name] = (tuple(int(n) for n in shape.split("x") if n), f"torch.{kind}")
    # What nothing reads is all that may be there and not in ours.
    unread = {"A.0.head.weight", "A.0.head.bias", "T.albert.pooler.weight", "T.albert.pooler.bias"}
    ours = {
        published_name(name): (tuple(value.shape), str(value.dtype))
        for name, value in full().state_dict().items()
    }
    assert len(listed) == 520
    assert {name: kind for name, kind in listed.items() if name not in unread} == ours
    assert unread <= set(listed)
    # The sizes read off these shapes are those of the preset.
    state = {name: torch.empty(shape, device="meta") for name, (shape, _) in listed.items()}
    read = config_of(state, "tav", 4, CLASSES)
    assert replace(read, text={}) == FV2ESConfig(label_classes=CLASSES)
    assert (read.text["num_hidden_layers"], read.text["num_attention_heads"]) == (12, 12)


def test_other_names_and_shapes_are_refused(tmp_path: Path) -> None:
    def refuse(changed: dict[str, Tensor], match: str) -> None:
        torch.save(changed, tmp_path / "net.pt")
        with pytest.raises(UsageError, match=match):
            convert_file(tmp_path / "net.pt", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    state = dict(published().state_dict())
    refuse(state | {"V.99.what": torch.ones(1)}, r"1 unexpected names \(V\.99\.what\), 0 missing")
    for name in ("V.1.running_var", "a_out.bias", "T.albert.embeddings.LayerNorm.weight"):
        without = {key: value for key, value in state.items() if key != name}
        refuse(without, rf"0 unexpected names, 1 missing \({name}\)")
    refuse({k: v for k, v in state.items() if k != "v_out.weight"}, "no weight v_out.weight")
    refuse({k: v for k, v in state.items() if "rbr" not in k}, HINT)
    refuse(state | {"a_out.bias": torch.ones(5)}, r"a_out.bias is float32 \(5,\), expected .*\(6,")
    refuse(state | {"a_out.bias": torch.ones(6).half()}, "is float16")
    refuse(state | {"V.4.rbr_reparam.weight": torch.ones(8, 8, 3, 3)}, "no weight V.5.rbr_reparam")


def test_what_no_shape_tells_is_asked_for(tmp_path: Path) -> None:
    path, out = save(published("ta"), tmp_path / "net.pt"), tmp_path / "run"

    def refuse(match: str, **options: Any) -> None:
        with pytest.raises(UsageError, match=match):
            convert_file(path, out, **options)

    refuse("fuses 2 of the modalities t, a and v")
    refuse("fuses 2 modalities, but --modalities names 3", modalities="tav")
    refuse("6 classes, but 2 are given: a, b", modalities="ta", labels="a,b")
    refuse("contain an empty or duplicate name", modalities="ta", labels="a,b,c,d,e,e")
    refuse("is not a multiple of 5 attention heads", modalities="ta", heads=5)
    convert(path, out, modalities="ta", labels="mosei")
    assert load_checkpoint(out).model.config.label_classes[0] == "anger"
    refuse("is not empty", modalities="ta")


class Anything:
    """Not a tensor."""


def test_a_pickle_that_holds_more_than_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"

    def refuse(match: str) -> None:
        with pytest.raises(UsageError, match=match):
            read_state(path)

    refuse("does not exist")
    torch.save({"net": Anything()}, path)
    refuse(r"net\.pt is not loaded: its pickle contains the Python object \S*Anything")
    path.write_bytes(b"PK\x03\x04 no archive")
    refuse(r"net\.pt cannot be read")
    torch.save([torch.ones(1)], path)
    refuse("contains a list of 1 entries")
    torch.save({"net": 3}, path)
    refuse("contains a int under 'net'")
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"nothing")
    refuse(r"net\.safetensors cannot be read")


def test_a_converted_run_is_evaluated_and_says_what_is_not_known(
    corpus: Corpus, tmp_path: Path
) -> None:
    path = save(published(), tmp_path / "net.pt")
    result = convert_file(path, tmp_path / "run")
    assert (result["tokenizer_known"], result["label_classes"]) == (False, list(CLASSES))
    json.dumps(result)
    measured = evaluate(corpus.shards, corpus.split, tmp_path / "run")
    assert measured["thresholds"] == dict.fromkeys(CLASSES, 0.5)
    assert measured["thresholds_fitted"] is False
    assert measured["trained_on_this_split"] is False

    checkpoint = load_checkpoint(tmp_path / "run")
    more = PrepSettings(text=TextSettings(vocabulary_size=VOCABULARY + 1))
    with pytest.raises(
        SettingsError, match="has 41 token ids, but the text encoder of the run accepts 40"
    ):
        checkpoint.check(more, CLASSES)
    short = PrepSettings(text=TextSettings(vocabulary_size=VOCABULARY, max_tokens=50))
    with pytest.raises(SettingsError, match="max_tokens = 100, but these shards have 50"):
        checkpoint.check(short, CLASSES)


def test_shards_tell_settings_tokenizer_and_classes(corpus: Corpus, tmp_path: Path) -> None:
    path = save(published(), tmp_path / "net.pt")
    result = convert_file(path, tmp_path / "run", shards=corpus.shards)
    assert result["tokenizer_known"] is True
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.settings.text.tokenizer == "tests"
    other = replace(checkpoint.settings, text=TextSettings(vocabulary_size=VOCABULARY))
    with pytest.raises(SettingsError, match=r"text\.tokenizer = 'tests'"):
        checkpoint.check(other, CLASSES)


def test_other_runs_of_ours_are_not_exported(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a fv2es-tiny with the text encoder albert"):
        export_run(run, tmp_path / "tiny.pt")
    model = FV2ES(FV2ESConfig(label_classes=CLASSES, modalities="v", face_hidden=8))
    with pytest.raises(UsageError, match="has only the parts of the modalities v"):
        to_published(model)


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    path = save(published("v"), tmp_path / "net.pt")
    convert(path, tmp_path / "run", modalities="v")
    with pytest.raises(UsageError, match="already exists"):
        export_run(tmp_path / "run", path)
