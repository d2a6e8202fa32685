"""A client cannot fill the disk with the log."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from starlette.testclient import TestClient

from fv2es_train.serve.api_errors import ApiError, handle_errors
from fv2es_train.serve.log_limit import LogLimit


def test_many_refusals_are_counted_and_few_are_logged(caplog):
    app, counted = FastAPI(), list[int]()
    handle_errors(app, counted.append)

    @app.get("/")
    async def refuse() -> None:
        raise ApiError(400, "the client disconnected")

    with caplog.at_level(logging.INFO, "fv2es.serve"), TestClient(app) as client:
        assert {client.get("/").status_code for _ in range(100)} == {400}
    said = [line for line in caplog.messages if "the client disconnected" in line]
    assert 0 < len(said) <= 20
    assert counted == [400] * 100


def test_the_next_minute_tells_how_many_are_not_logged(caplog):
    now = [0.0]
    log = logging.getLogger("test of the limit")
    log.addFilter(LogLimit(lambda: now[0]))
    with caplog.at_level(logging.INFO):
        for number in range(50):
            log.info("line %d", number)
        now[0] = 60.0
        log.info("100 %")
        log.info("again")
    assert caplog.messages[:20] == [f"line {number}" for number in range(20)]
    assert caplog.messages[20:] == ["100 % (30 earlier lines were not logged)", "again"]
