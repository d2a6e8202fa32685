"""`fv2es serve`: start all parts in order, and always shut them down in order."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.errors import UsageError, WorkError
from fv2es_train.serve.settings import ServeConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Packages of the extra `serve`.
_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_SHUTDOWN_S = 3
_BACKLOG = 128
_ENDING = (signal.SIGINT, signal.SIGTERM)
_MAX_HEADER_BYTES = 1 << 14


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; ``say`` is called with messages for the terminal.

    Raises:
        UsageError: the address is not available, or the run does not exist.
        WorkError: the extra is not installed, or the model cannot be loaded.
    """
    with bound(config, "fv2es serve", say) as listener:
        from fv2es_train.serve.workspace import private_workspace

        with private_workspace(config.temporary) as workspace:
            _run(config, listener, workspace, say)


@contextlib.contextmanager
def bound(config: ServeConfig, command: str, say: Callable[[str], None]) -> Iterator[socket.socket]:
    """Bind a socket; SIGINT or SIGTERM ends the block in order.

    Raises:
        UsageError: the address is not available.
        WorkError: the extra is not installed.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        sentence = f"{command} needs the packages {', '.join(missing)}"
        raise WorkError(sentence, "install them with `pip install 'fv2es[serve]'`")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    for one in _ENDING:
        signal.signal(one, _interrupt)
    with contextlib.suppress(KeyboardInterrupt), _listening(config) as listener:
        yield listener
    say("server stopped")


def _interrupt(*_: object) -> None:
    """Turn the first signal into an exception, so that all is cleaned up; ignore later ones."""
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _listening(config: ServeConfig) -> Iterator[socket.socket]:
    """Bind a socket, before anything is loaded in vain."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {config.host} port {config.port}: "
                f"{getattr(error, 'strerror', None) or error}",
                "choose another --port, or pass an address of this machine as --host",
            ) from error
        yield listener


def _run(
    config: ServeConfig, listener: socket.socket, workspace: Path, say: Callable[[str], None]
) -> None:
    from fv2es_train.serve.api import Api
    from fv2es_train.serve.jobs import Jobs
    from fv2es_train.serve.prometheus import ServerMetrics
    from fv2es_train.serve.worker_pool import WorkerPool

    jobs = Jobs(config.limits)
    metrics = ServerMetrics(jobs)
    pool = WorkerPool(config, jobs, workspace, metrics.count_job)
    say(f"loading {config.run}")
    pool.start()
    try:
        app = Api(config, jobs, pool, metrics, workspace).app()
        say(f"speech recogniser: {pool.model.recogniser or 'none; send transcripts'}")
        listen(app, config, listener, say)
    finally:
        pool.close()


def listen(
    app: ASGIApp, config: ServeConfig, listener: socket.socket, say: Callable[[str], None]
) -> None:
    """Serve an application on a socket until a signal comes, behind `AccessControl`."""
    import uvicorn

    from fv2es_train.serve.access import AccessControl
    from fv2es_train.serve.connections import connections_within

    settings = uvicorn.Config(
        AccessControl(app, config),
        log_config=None,
        log_level="warning",
        # URLs of jobs are secrets and must not be logged.
        access_log=False,
        server_header=False,
        lifespan="off",
        backlog=_BACKLOG,
        http=connections_within(config.limits),
        ws="none",
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    host, port = listener.getsockname()[:2]
    if config.is_public and config.token is None:
        say(
            "anyone who can reach this machine can use the server; to restrict it, pass "
            "--token-file"
        )
    shown = f"[{host}]" if ":" in host else host
    say(f"listening on http://{shown}:{port}  (Ctrl-C to stop)")
    uvicorn.Server(settings).run(sockets=[listener])
