"""`fv2es config`: print a configuration, or the differences between two.

Owns where a configuration is read from: a TOML file, a run or a dataset. Leaves its form to
`fv2es_prep.utils.configuration`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.configuration import differences, flat_values, flatten, read_toml, toml_value
from fv2es_prep.utils.console import Json, print_json
from fv2es_prep.utils.tables import Table, shown
from fv2es_prep.utils.typer_app import App
from fv2es_train.commands.bench import bench
from fv2es_train.commands.predict import predict
from fv2es_train.commands.serve import serve
from fv2es_train.commands.train import train

config = App(help="Show and compare configurations.")
show = App(help="Print the configuration of a command as TOML, for --config.")
config.add_typer(show, name="show")
for _name, _command in {"train": train, "bench": bench, "predict": predict, "serve": serve}.items():
    show.command(_name, epilog=f"Example: fv2es config show {_name}")(_command.show)  # type: ignore[attr-defined]

_Place = Annotated[
    Path, typer.Argument(help="TOML file, run or dataset.", metavar="PLACE", show_default=False)
]


@config.command(epilog="Example: fv2es config diff run-a run-b")
def diff(left: _Place, right: _Place, as_json: Json = False) -> None:
    """Print the fields in which two configurations differ, with both values."""
    found = differences(*(values_at(place) for place in (left, right)))
    if as_json:
        print_json({path: list(pair) for path, pair in found.items()})
        return
    for path, pair in found.items():
        typer.echo(f"{path:24} " + "  ".join(f"{value or '-':>16}" for value in pair))


@config.command(epilog="Example: fv2es config env")
def env(as_json: Json = False) -> None:
    """List the environment variables that fv2es reads, with their values."""
    from fv2es_prep.utils.environment import values

    rows = list(values())
    if as_json:
        print_json({name: None if value == "-" else value for name, value, _ in rows})
    else:
        typer.echo(shown([Table(["variable", "value", "meaning"], rows)]))


def values_at(place: Path) -> dict[str, str | None]:
    """Read the values of a TOML file, a run or a dataset: dotted path -> value as TOML.

    Raises:
        UsageError: ``place`` is none of them.
    """
    from fv2es_prep.shards.index import INDEX_NAME, read_index
    from fv2es_train.training.run_config import stored_config

    if place.is_file():
        values = flatten(read_toml(place))
    elif (place / INDEX_NAME).is_file():
        values = flatten(read_index(place).settings.to_json())
    elif place.is_dir():
        values = flat_values(stored_config(place))
    else:
        raise UsageError(f"{place} does not exist", "pass a TOML file, a run or a dataset")
    return {path: None if value is None else toml_value(value) for path, value in values.items()}
