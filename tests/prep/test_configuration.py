"""One configuration from its sources, and the options that are made of its fields."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given as draws
from hypothesis import strategies
from typer.testing import CliRunner, Result

from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.utils.configuration import (
    differences,
    flatten,
    given_values,
    read_toml,
    resolve,
    settle,
    to_toml,
)
from fv2es_prep.utils.fields import fields_of
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_prep.utils.typer_app import App


@dataclass(frozen=True)
class Net:
    """A network.

    Attributes:
        widths: channels of each level.
        dropout: rate, 0 to 1,
            on two lines.
        classes: computed.
    """

    widths: tuple[int, ...] = (64, 128)
    dropout: float = 0.1
    classes: tuple[str, ...] = field(default=(), metadata={"derived": True})


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        out: directory of the result.
        net: the network.
        seed: of the random numbers.
        threads: CPU threads; none: as many as there are.
        schedule: learning-rate schedule.
        freeze: ``all``, or a number of layers.
        augment: kinds of augmentation.
        fast: be quick.
        merge: classes to count as another.
        name: what it is called.
    """

    out: Path
    net: Net = Net()
    seed: int = 0
    threads: int | None = None
    schedule: Literal["constant", "linear"] = "constant"
    freeze: Literal["none", "all"] | int = "none"
    augment: tuple[Literal["flip", "spec"], ...] = ()
    fast: bool = False
    merge: dict[str, str] = field(default_factory=dict)
    name: str | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}, expected at least 0")


SMALL = {"net": Net(widths=(2,), classes=("a",)), "schedule": "linear", "threads": 1, "seed": 5}
# Each field: how it is written in TOML, how with --set, and what arrives.
VALUES: dict[str, tuple[Any, str, Any]] = {
    "out": ("there", "there", Path("there")),
    "net.widths": ([1, 2, 3], "1,2,3", (1, 2, 3)),
    "net.dropout": (0.5, "5e-1", 0.5),
    "seed": (7, "7", 7),
    "threads": (2, "2", 2),
    "schedule": ("linear", "linear", "linear"),
    "freeze": (3, "3", 3),
    "augment": (["flip", "spec"], "flip,spec", ("flip", "spec")),
    "fast": (True, "true", True),
    "merge": ({"exc": "hap"}, "exc=hap", {"exc": "hap"}),
    "name": ("none", "none", "none"),
}


def value_at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


def test_every_field_has_a_path_a_default_and_a_line_of_documentation() -> None:
    known = fields_of(Job)
    assert set(known) == set(VALUES)
    assert known["out"].default is MISSING
    assert known["net.dropout"].doc == "rate, 0 to 1, on two lines."
    assert known["augment"].choices == ("flip", "spec")
    assert known["freeze"].expected == "none | all | int"


@pytest.mark.parametrize("path", VALUES)
def test_a_field_is_set_by_toml_and_by_set(path: str, tmp_path: Path) -> None:
    toml, text, arrives = VALUES[path]
    value: Any = toml
    for name in reversed(path.split(".")):
        value = {name: value}
    file = tmp_path / "job.toml"
    file.write_text(to_toml(fields_of(Job), {**settle(Job, {}), path: arrives}))
    assert flatten(tomllib.loads(file.read_text())).items() >= flatten(value).items()
    for given in (given_values(file), given_values(None, [f"{path}={text}"])):
        assert value_at(resolve(Job, {"out": "there", **given}), path) == arrives


def test_the_user_overrides_the_file_the_file_the_preset_and_the_preset_the_defaults(
    tmp_path: Path,
) -> None:
    file = tmp_path / "job.toml"
    file.write_text('out = "a"\nseed = 6\nschedule = "constant"\n[net]\ndropout = 0.2\n')
    given = given_values(file, ["seed=7", "net.dropout=0.3"], {"seed": 8, "threads": None})
    job = resolve(Job, given, SMALL)
    assert job.net == Net((2,), 0.3, ("a",))
    assert (job.seed, job.schedule, job.threads, job.fast) == (8, "constant", 1, False)
    assert resolve(Job, {"out": "a", "threads": "none"}, SMALL).threads is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead=1", ("'sead'", "did you mean seed?")),
        ("dropout=1", ("'dropout'", "did you mean net.dropout?")),
        ("seed=x", ("seed", "'x'", "expected int")),
        ("seed=-1", ("seed is -1",)),
        ("schedule=cosine", ("'cosine'", "expected constant | linear")),
        ("net.widths=a", ("net.widths", "'a'", "expected list[int]")),
        ("net.widths=[1", ("net.widths", "'[1'")),
        ("augment=flip,turn", ("expected list[flip | spec]",)),
        ("seed", ("invalid --set 'seed'", "PATH=VALUE")),
        ("net.classes=a", ("unknown", "'net.classes'")),
    ],
)
def test_what_is_wrong_is_named(text: str, said: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Job, {"out": "a", **given_values(None, [text])})
    for words in said:
        assert words in str(caught.value)


def test_a_required_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="out is missing"):
        resolve(Job, {})
    with pytest.raises(UsageError, match="cannot read"):
        read_toml(tmp_path / "no.toml")


@draws(
    strategies.builds(
        Job,
        out=strategies.just(Path("a")),
        net=strategies.builds(
            Net,
            dropout=strategies.floats(allow_nan=False),
            widths=strategies.lists(strategies.integers(0, 2**40)).map(tuple),
            classes=strategies.just(()),
        ),
        seed=strategies.integers(0, 2**40),
        merge=strategies.dictionaries(strategies.text(), strategies.text(), max_size=3),
        name=strategies.none() | strategies.text(),
    )
)
def test_toml_brings_back_the_same_configuration(job: Job) -> None:
    known = fields_of(job)
    text = to_toml(known, {path: f.default for path, f in known.items()})
    assert resolve(Job, flatten(tomllib.loads(text))) == job


def test_differences_are_by_path() -> None:
    left, right = settle(Job, {"out": "a", "seed": 1}), settle(Job, {"out": "a", "name": "x"})
    assert differences(left, right) == {"seed": (1, 0), "name": (None, "x")}


APP = App()
FOUND: list[Job] = []


def _preset(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return SMALL if given.get("name") == "small" else {}


@options_of(
    Job,
    {
        "Job": ("out", "name", Flag("seed", help="A number."), "fast"),
        "Network": ("schedule", "freeze", "augment", "merge", "net.dropout"),
    },
    _preset,
)
def job(given: Given[Job], again: bool = False) -> None:
    """Do a job."""
    FOUND.append(given.resolve(seed=9 if again else None))


APP.command("job")(job)
APP.command("show")(job.show)  # type: ignore[attr-defined]


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments))


def test_options_are_made_of_the_fields() -> None:
    given = ("--seed", "3", "--fast", "--augment", "flip,spec", "--merge", "a=b", "--merge", "c=d")
    result = typed("job", "--out", "o", "--dropout", "0.5", *given, "--set", "net.widths=[3]")
    assert result.exit_code == 0, result.output
    expected = Job(Path("o"), Net((3,), 0.5), 3, fast=True, augment=("flip", "spec"))
    assert FOUND[-1] == replace(expected, merge={"a": "b", "c": "d"})
    assert typed("job", "--out", "o", "--again").exit_code == 0
    assert FOUND[-1].seed == 9


def test_an_option_that_is_not_given_leaves_the_preset(tmp_path: Path) -> None:
    assert typed("job", "--out", "o", "--name", "small").exit_code == 0
    assert FOUND[-1] == Job(Path("o"), **SMALL, name="small")  # type: ignore[arg-type]
    file = tmp_path / "job.toml"
    file.write_text(typed("show", "--out", "o", "--name", "small", "--schedule", "constant").stdout)
    assert typed("job", "--config", str(file)).exit_code == 0
    assert FOUND[-1] == replace(Job(Path("o"), **SMALL), name="small", schedule="constant")  # type: ignore[arg-type]


def test_help_lists_choices_defaults_and_documentation() -> None:
    shown = " ".join(typed("job", "--help").stdout.split())
    for words in (
        "Choices: constant, linear.",
        "<flip|spec,...>",
        "<none|all|int>",
        "A number.",
        "Network",
    ):
        assert words in shown, shown
    assert "[required]" in shown and "KEY=VALUE" in shown
    assert "--config" in shown and "PATH=VALUE" in shown and "[default: constant]" in shown
    wrong = typed("job", "--out", "o", "--schedule", "cosine")
    assert wrong.exit_code == 2 and "constant" in wrong.output
    assert "# out = path" in typed("show").stdout
