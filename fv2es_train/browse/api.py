"""The endpoints of `fv2es browse`: rows, one utterance with its pictures and sound, marks."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, FastAPI, Query
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from fv2es_prep import __version__
from fv2es_prep.errors import ShardError
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.review import MARKS, MOST_NOTE
from fv2es_prep.shards.tools.show import Shown, draw_example, example_values
from fv2es_prep.types import Example
from fv2es_prep.utils.csv_text import csv_line, neutral
from fv2es_train.browse.excerpts import Corpus
from fv2es_train.browse.playing import Id, Playing
from fv2es_train.browse.table import Order, State, Table
from fv2es_train.browse.table import Query as Wanted
from fv2es_train.serve.api_errors import ApiError, handle_errors

_PAGE = Path(__file__).parent / "page"
_SHARED = Path(__file__).parents[1] / "serve" / "page"
_MOST_ROWS = 500
_NEIGHBOURS = 3
_OPEN = 256
_CSV = "text/csv; charset=utf-8"
_COLUMNS = (
    *("id", "recording", "speaker", "session", "seconds", "faces", "labels", "text", "reason"),
    *("subset", "marks", "note"),
)


def _query(  # each is a filter of the page
    text: Annotated[str, Query(max_length=200)] = "",
    label: str = "",
    speaker: str = "",
    session: str = "",
    reason: str = "",
    missing: str = "",
    subset: str = "",
    state: State = "",
    most_faces: Annotated[float, Query(ge=0, le=1)] = 1.0,
    least_s: Annotated[float, Query(ge=0)] = 0.0,
    most_s: Annotated[float, Query(ge=0)] = float("inf"),
    order: Order = "corpus",
    descending: bool = False,
) -> Wanted:
    """The query in a URL."""
    return Wanted(
        *(text, label, speaker, session, reason, missing, subset, state),
        *(most_faces, least_s, most_s, order, descending),
    )


_Asked = Annotated[Wanted, Depends(_query)]


class BrowseApi:
    """The endpoints over one table, and over its raw corpus if given."""

    def __init__(self, table: Table, corpus: Corpus | None = None) -> None:
        self._table = table
        # Several threads call matplotlib and HDF5; this lock serializes them.
        self._lock = threading.Lock()
        self._reader = functools.lru_cache(_OPEN)(self._open)
        self._playing = Playing(self._example, table.catalogue.index.settings, corpus)

    def app(self) -> FastAPI:
        """The application."""
        app = FastAPI(title="fv2es browse", version=__version__, docs_url=None, redoc_url=None)
        app.get("/", include_in_schema=False)(_page)
        app.get("/v1/about")(self.about)
        app.get("/v1/rows", response_class=Response)(self.rows)
        app.get("/v1/rows.csv", response_class=StreamingResponse)(self.table)
        app.get("/v1/utterance")(self.utterance)
        app.get("/v1/picture.png", response_class=Response)(self.picture)
        app.get("/v1/face.png", response_class=Response)(self.face)
        app.get("/v1/sound.wav", response_class=Response)(self._playing.sound)
        app.get("/v1/waveform")(self._playing.waveform)
        app.get("/v1/recording", response_class=Response)(self._playing.recording)
        app.get("/v1/film.webm", response_class=Response)(self._playing.film)
        app.put("/v1/marks")(self.mark)
        app.get("/v1/marks.csv", response_class=Response)(self.marks)
        app.mount("/browse", StaticFiles(directory=_PAGE))
        app.mount("/page", StaticFiles(directory=_SHARED))
        handle_errors(app, lambda _: None)
        return app

    def about(self) -> dict[str, Any]:
        """The dataset, and the possible values of the filters."""
        table = self._table
        return {
            "shards": table.directory.resolve().name,
            "corpus": table.catalogue.index.corpus,
            "stages": table.catalogue.index.settings.stages,
            "examples": len(table.catalogue),
            "left_out": len(table.left_out),
            "runs": list(table.runs),
            "choices": table.choices(),
            "marks": MARKS,
        }

    def rows(
        self,
        query: _Asked,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    ) -> Response:
        """A part of the rows of a query, and their number."""
        found = self._table.find(query)
        rows = self._table.rows(found[offset : offset + limit].tolist())
        # FastAPI takes longer to encode the rows than this code takes to read them.
        body = msgspec.json.encode({"total": len(found), "rows": rows})
        return Response(body, media_type="application/json")

    def table(self, query: _Asked) -> StreamingResponse:
        """All rows of a query as CSV."""
        found = self._table.find(query)

        def lines() -> Iterator[str]:
            yield csv_line([*_COLUMNS, *self._table.runs]) + "\n"
            for start in range(0, len(found), _MOST_ROWS):
                rows = self._table.rows(found[start : start + _MOST_ROWS].tolist())
                yield "".join(f"{csv_line(_cells(row, self._table.runs))}\n" for row in rows)

        return StreamingResponse(lines(), media_type=_CSV, headers=_named("utterances.csv"))

    def utterance(self, id_: Id) -> dict[str, Any]:
        """One utterance: its values, predictions, marks and neighbours."""
        table, number = self._table, self._number(id_)
        if number >= len(table.catalogue):
            (row,) = table.rows([number])
            return row | {"playing": self._playing.told(id_, None)}
        shown, names = self._shown(id_), table.catalogue.recordings
        around = range(
            max(number - _NEIGHBOURS, 0), min(number + _NEIGHBOURS + 1, len(table.catalogue))
        )
        same = [row for row in around if names.codes[row] == names.codes[number]]
        (row,) = table.rows([number])
        return {
            **example_values(shown),
            **{name: row[name] for name in ("subset", "scores", "marks", "note")},
            "neighbours": [row | {"this": row["id"] == id_} for row in table.rows(same)],
            "playing": self._playing.told(id_, shown.example),
        }

    def picture(self, id_: Id) -> Response:
        """The faces, spectrum and words of an utterance as one picture."""
        shown, target = self._shown(id_), io.BytesIO()
        with self._lock:
            draw_example(shown.example, target)
        return Response(target.getvalue(), media_type="image/png")

    def face(self, id_: Id) -> Response:
        """The first face of an utterance as a small picture."""
        picture = _first_face(self._shown(id_).example)
        if picture is None:
            raise ApiError(404, "the utterance has no picture")
        return Response(picture, media_type="image/png", headers={"Cache-Control": "max-age=3600"})

    def mark(
        self,
        id_: Annotated[str, Body(alias="id", max_length=1000)],
        marks: Annotated[list[str], Body(max_length=len(MARKS))],
        note: Annotated[str, Body(max_length=MOST_NOTE)] = "",
    ) -> dict[str, Any]:
        """Mark an utterance; this replaces its earlier marks."""
        self._number(id_)
        if unknown := {*marks} - MARKS.keys():
            sentence = f"unknown mark {min(unknown)[:80]!r}"
            raise ApiError(422, sentence, f"choose from {', '.join(MARKS)}")
        with self._lock:
            review = self._table.mark(id_, marks, note)
        return {"id": id_, "marks": review.marks, "note": review.note}

    def marks(self) -> Response:
        """All marks as a file."""
        lines = [csv_line(["id", *MARKS, "note", "at"])]
        for review in self._table.reviews():
            held = ["1" if mark in review.marks else "0" for mark in MARKS]
            lines.append(csv_line([neutral(review.id), *held, neutral(review.note), review.at]))
        text = "".join(f"{line}\n" for line in lines)
        return Response(text, media_type=_CSV, headers=_named("review.csv"))

    def _example(self, id_: str) -> Example | None:
        """The example of an utterance; None if it was left out."""
        left_out = self._number(id_) >= len(self._table.catalogue)
        return None if left_out else self._shown(id_).example

    def _shown(self, id_: str) -> Shown:
        number = self._number(id_)
        if number >= len(self._table.catalogue):
            raise ApiError(404, f"the utterance {id_[:80]!r} was left out of the dataset")
        catalogue, row = self._table.catalogue, int(self._table.catalogue.row[number])
        try:
            with self._lock:
                reader = self._reader(int(catalogue.shard[number]))
                return Shown(reader.read(row), reader.path.name, row, catalogue.index.rating_names)
        except ShardError as error:
            raise ApiError(500, error.sentence, error.hint) from error

    def _open(self, shard: int) -> ShardReader:
        """Open a shard and keep it open: opening takes ten times as long as reading an example."""
        index = self._table.catalogue.index
        return ShardReader(self._table.directory / index.shards[shard].name, "first", index)

    def _number(self, id_: str) -> int:
        if (number := self._table.number_of(id_)) < 0:
            raise ApiError(404, f"there is no utterance {id_[:80]!r}")
        return number


def _first_face(example: Example) -> bytes | None:
    from PIL import Image

    faces = example.get("faces")
    if faces is None or not len(faces.rgb):
        return None
    place = int(faces.found.argmax())
    target = io.BytesIO()
    Image.fromarray(faces.rgb[place]).save(target, "png")
    return target.getvalue()


def _cells(row: Mapping[str, Any], runs: Iterable[str]) -> list[Any]:
    """A row as table cells; ``+`` joins classes and marks."""
    scores = row.get("scores", {})
    lists = {name: "+".join(row.get(name, ())) for name in ("labels", "marks")}
    cells = [{**row, **lists}.get(name, "") for name in _COLUMNS]
    predicted = ["+".join(scores[run]["predicted"]) if run in scores else "" for run in runs]
    return [neutral(cell) if isinstance(cell, str) else cell for cell in (*cells, *predicted)]


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _page() -> FileResponse:
    return FileResponse(_PAGE / "index.html")
