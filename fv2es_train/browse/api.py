"""The addresses of `fv2es browse`: rows, one utterance with its pictures and sound, marks."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Query
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from fv2es_prep import __version__
from fv2es_prep.shards.review import MARKS, MOST_NOTE
from fv2es_prep.shards.tools.show import Shown, draw_example, example_at, example_values
from fv2es_prep.types import Example
from fv2es_prep.utils.csv_text import csv_line, neutral
from fv2es_train.browse.sound import wav_of
from fv2es_train.browse.table import Order, State, Table
from fv2es_train.browse.table import Query as Wanted
from fv2es_train.serve.api_errors import ApiError, handle_errors

_PAGE = Path(__file__).parent / "page"
_SHARED = Path(__file__).parents[1] / "serve" / "page"
_MOST_ROWS = 500
_NEIGHBOURS = 3
Id = Annotated[str, Query(alias="id", description="Utterance id.")]


class BrowseApi:
    """The endpoints over one table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        # matplotlib and HDF5 are asked from several threads.
        self._lock = threading.Lock()

    def app(self) -> FastAPI:
        """The application."""
        app = FastAPI(title="fv2es browse", version=__version__, docs_url=None, redoc_url=None)
        app.get("/", include_in_schema=False)(_page)
        app.get("/v1/about")(self.about)
        app.get("/v1/rows")(self.rows)
        app.get("/v1/utterance")(self.utterance)
        app.get("/v1/picture.png", response_class=Response)(self.picture)
        app.get("/v1/face.png", response_class=Response)(self.face)
        app.get("/v1/sound.wav", response_class=Response)(self.sound)
        app.put("/v1/marks")(self.mark)
        app.get("/v1/marks.csv", response_class=Response)(self.marks)
        app.mount("/browse", StaticFiles(directory=_PAGE))
        app.mount("/page", StaticFiles(directory=_SHARED))
        handle_errors(app, lambda _: None)
        return app

    def about(self) -> dict[str, Any]:
        """The dataset, and the values that filters may have."""
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

    def rows(  # each is a filter of the page
        self,
        text: Annotated[str, Query(max_length=200)] = "",
        label: str = "",
        speaker: str = "",
        session: str = "",
        reason: str = "",
        missing: str = "",
        state: State = "",
        most_faces: Annotated[float, Query(ge=0, le=1)] = 1.0,
        least_s: Annotated[float, Query(ge=0)] = 0.0,
        most_s: Annotated[float, Query(ge=0)] = float("inf"),
        order: Order = "corpus",
        descending: bool = False,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    ) -> dict[str, Any]:
        """Some rows of a query, and how many there are."""
        query = Wanted(
            *(text, label, speaker, session, reason, missing, state),
            *(most_faces, least_s, most_s, order, descending),
        )
        found = self._table.find(query)
        shown = found[offset : offset + limit].tolist()
        return {"total": len(found), "rows": self._table.rows(shown)}

    def utterance(self, id_: Id) -> dict[str, Any]:
        """One utterance: its values, those before and after it, predictions and marks."""
        table, shown = self._table, self._shown(id_)
        number, names = table.number_of(id_), table.catalogue.recordings
        around = range(
            max(number - _NEIGHBOURS, 0), min(number + _NEIGHBOURS + 1, len(table.catalogue))
        )
        same = [row for row in around if names.codes[row] == names.codes[number]]
        review = table.review(id_)
        return {
            **example_values(shown),
            "neighbours": [row | {"this": row["id"] == id_} for row in table.rows(same)],
            "scores": table.scores(number),
            "marks": review.marks,
            "note": review.note,
            "sound": "waveform" in shown.example or "mel" in shown.example,
            "estimated": "waveform" not in shown.example,
        }

    def picture(self, id_: Id) -> Response:
        """Its faces, spectrum and words as one picture."""
        shown, target = self._shown(id_), io.BytesIO()
        with self._lock:
            draw_example(shown.example, target)
        return Response(target.getvalue(), media_type="image/png")

    def face(self, id_: Id) -> Response:
        """Its first face as a small picture."""
        picture = _first_face(self._shown(id_).example)
        if picture is None:
            raise ApiError(404, "the utterance has no picture")
        return Response(picture, media_type="image/png", headers={"Cache-Control": "max-age=3600"})

    def sound(self, id_: Id) -> Response:
        """Its sound, see `wav_of`."""
        made = wav_of(self._shown(id_).example, self._table.catalogue.index.settings)
        if made is None:
            raise ApiError(404, "the utterance has no sound")
        return Response(made[0], media_type="audio/wav")

    def mark(
        self,
        id_: Annotated[str, Body(alias="id", max_length=1000)],
        marks: Annotated[list[str], Body(max_length=len(MARKS))],
        note: Annotated[str, Body(max_length=MOST_NOTE)] = "",
    ) -> dict[str, Any]:
        """Mark an utterance; its earlier marks no longer count."""
        self._number(id_)
        if unknown := {*marks} - MARKS.keys():
            sentence = f"unknown mark {min(unknown)[:80]!r}"
            raise ApiError(422, sentence, f"choose from {', '.join(MARKS)}")
        with self._lock:
            review = self._table.mark(id_, marks, note)
        return {"id": id_, "marks": review.marks, "note": review.note}

    def marks(self) -> Response:
        """All marks as a table."""
        lines = [csv_line(["id", *MARKS, "note", "at"])]
        for review in self._table.reviews():
            held = ["1" if mark in review.marks else "0" for mark in MARKS]
            lines.append(csv_line([neutral(review.id), *held, neutral(review.note), review.at]))
        headers = {"Content-Disposition": 'attachment; filename="review.csv"'}
        text = "".join(f"{line}\n" for line in lines)
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    def _shown(self, id_: str) -> Shown:
        number = self._number(id_)
        with self._lock:
            return example_at(self._table.directory, self._table.catalogue, number)

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


def _page() -> FileResponse:
    return FileResponse(_PAGE / "index.html")
