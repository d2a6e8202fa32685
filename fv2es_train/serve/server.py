"""`fv2es serve`: everything is started in order, and taken down in order however it ends.

Owns the life of the server. Leaves requests to `app`, work to `pool`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fv2es_prep.errors import UsageError
from fv2es_train.serve.settings import ServeOptions

_GRACE_S = 3
_BACKLOG = 128
_CONNECTIONS = 256


def serve(options: ServeOptions, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        options: what the server is asked to be.
        say: called with what a person at the terminal is to know.

    Raises:
        UsageError: the address cannot be listened at, or there is no such run.
        WorkError: the run, its tokenizer or the recogniser cannot be loaded.
    """
    from fv2es_train.serve.workspace import private_folder

    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    # What goes on below must be undone: a signal becomes an exception.
    signal.signal(signal.SIGTERM, _leave)
    with (
        contextlib.suppress(KeyboardInterrupt),
        _listening(options) as listener,
        private_folder(options.temporary) as folder,
        _temporary(folder),
    ):
        _run(options, listener, folder, say)
    say("the server has ended")


def _leave(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _listening(options: ServeOptions) -> Iterator[socket.socket]:
    """A socket that listens; taken first, so that nothing is loaded in vain."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen at {options.host} port {options.port}: "
                f"{getattr(error, 'strerror', None) or error}",
                "choose another --port, or an address of this machine for --host",
            ) from error
        yield listener


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """All temporary files of this process and its workers lie in the private folder."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]


def _run(
    options: ServeOptions, listener: socket.socket, folder: Path, say: Callable[[str], None]
) -> None:
    import uvicorn

    from fv2es_train.serve.api import Api
    from fv2es_train.serve.app import make_app
    from fv2es_train.serve.jobs import Jobs
    from fv2es_train.serve.prometheus import Measures
    from fv2es_train.serve.worker_pool import Pool

    jobs = Jobs(options.limits)
    measures = Measures(jobs)
    pool = Pool(options, jobs, folder, measures.ended)
    say(f"loading {options.run}")
    pool.start()
    try:
        app = make_app(Api(options, jobs, pool, measures, folder), options, measures)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            # Addresses of jobs are secrets; they do not go into a log.
            access_log=False,
            server_header=False,
            lifespan="off",
            backlog=_BACKLOG,
            # One more gets 503: a client that only opens connections takes no more memory.
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE_S,
        )
        _tell(options, listener, pool.ready.recogniser, say)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        pool.close()


def _tell(
    options: ServeOptions,
    listener: socket.socket,
    recogniser: str | None,
    say: Callable[[str], None],
) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    if options.open_to_others and options.token is None:
        say("everybody who reaches this machine may use it: pass --token-file to admit some only")
    heard = f"words are heard by {recogniser}" if recogniser else "words come from transcripts only"
    say(heard)
    say(f"listening at http://{shown}:{port}  (Ctrl-C ends it)")
