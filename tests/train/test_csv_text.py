"""A spreadsheet takes no text of ours for a formula; texts and numbers come back as they were."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fv2es_prep.utils.csv_text import neutral, plain
from fv2es_train.evaluation.predictions import Predictions, read_predictions, write_predictions
from fv2es_train.predict.outputs import UtterancePrediction
from fv2es_train.predict.render import csv_head, csv_row
from fv2es_train.predict.spans import parse_spans

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "=cmd|' /C calc'!A0")


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n ax1,\"")))
def test_a_text_comes_back(text: str) -> None:
    cell = neutral(text)
    assert isinstance(cell, str) and plain(cell) == text
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


@pytest.mark.parametrize("value", [-1, -0.5, None, True])
def test_a_number_stays_a_number(value: object) -> None:
    assert neutral(value) is value


def test_cells_of_predict_begin_no_formula() -> None:
    for text in FORMULAS:
        one = UtterancePrediction(
            *(text, -1.5, 2.0, text, "transcript", text, "full", 1, 1, "t"),
            {},
            {"sad": 0.5},
            (),
            {"sad": {"t": -0.25}},
            undecided=text,
        )
        ((head, cells),) = [
            (next(csv.reader([csv_head(["sad"])])), row)
            for row in csv.reader(io.StringIO(csv_row(text, one, ["sad"]), newline=""))
        ]
        row = dict(zip(head, cells, strict=True))
        assert [float(row[name]) for name in ("start_s", "p_sad", "t_sad")] == [-1.5, 0.5, -0.25]
        for name in ("video", "id", "speaker", "text", "undecided"):
            assert row[name][0] == "'" and plain(row[name]) == text


def test_predictions_come_back(tmp_path: Path) -> None:
    one, numbers = np.ones((len(FORMULAS), 1)), np.full((len(FORMULAS), 1), -0.5, np.float32)
    truth = one.astype("u1")
    stored = Predictions(("sad",), *[FORMULAS] * 4, truth, truth, one, numbers)
    write_predictions(tmp_path / "a.csv", stored)
    found = read_predictions(tmp_path / "a.csv")
    assert (found.ids, found.speakers) == (FORMULAS, FORMULAS)
    assert (found.logits == numbers).all()
    with (tmp_path / "a.csv").open(newline="") as file:
        for row in list(csv.DictReader(file)):
            assert row["id"].startswith("'") and float(row["logit_sad"]) == -0.5
    write_predictions(tmp_path / "b.csv", replace(found))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_what_predict_wrote_is_taken_as_spans() -> None:
    (span,) = parse_spans("start_s,end_s,text,id\n0,1,'=1+1,'-a\n")
    assert (span.text, span.id) == ("=1+1", "-a")
