"""Serves the lab's AWS API: moto with the lab's patches, behind waitress, which keeps connections alive.

    python serve.py --port 0 --port-file /some/file     # the port is in the file once the server answers
    python serve.py --port 5000 --unpatched             # moto without the patches, to show why one is needed
    python serve.py --copies                            # one server for each order on standard input

It listens on loopback only. Its state is in memory: a restart gives an empty account. `app.py` lists the `/lab/…`
paths.

moto takes two seconds of CPU to load. `--copies` loads it once and forks a server for each line
`{"start": PORT_FILE, "log": LOG_FILE}`; `{"stop": PORT_FILE}` ends it. All servers end with standard input.
"""

import argparse
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# moto reads these when it is imported.
os.environ.update(
    {
        "INITIAL_NO_AUTH_ACTION_COUNT": "0",
        "MOTO_ENABLE_AMI_VALIDATION": "1",
        "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "1",
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        "MOTO_DISABLE_GLOBAL_CORS": "1",
    }
)
sys.path.insert(0, str(Path(__file__).parent))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="serve the lab's AWS API on loopback")
    parser.add_argument("--port", type=int, default=0, help="port; 0 picks a free one")
    parser.add_argument("--port-file", type=Path, help="write the port here once the server listens")
    parser.add_argument("--unpatched", action="store_true", help="serve moto without the lab's patches")
    parser.add_argument("--copies", action="store_true", help="serve a copy for each order on standard input")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    # Imported here, because moto takes seconds to import and `--help` shouldn't.
    import app

    application = app.build(patched=not args.unpatched)
    if args.copies:
        app.load(application)
        serve_copies(application)
    else:
        serve(application, args.port, args.port_file)


def serve(application: Callable[..., Any], port: int, port_file: Path | None) -> None:
    """Serves until the process ends."""
    from waitress import create_server

    server = create_server(
        application,
        host="127.0.0.1",
        port=port,
        threads=16,
        connection_limit=2000,
        backlog=1024,
        # Longer than clients keep connections (90 s), so that no request meets a closing one.
        channel_timeout=300,
        ident="AmazonEC2",
    )
    port = server.effective_port
    if port_file:
        beside = port_file.with_name(port_file.name + ".new")
        beside.write_text(f"{port}\n")
        beside.rename(port_file)
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    server.run()


def serve_copies(application: Callable[..., Any]) -> None:
    """Forks a server for each order. This process has no threads, so that a fork is safe."""
    # The kernel reaps the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Only this process holds the writing end: the children read its end.
    alive, hold = os.pipe()
    # Collecting garbage would write to pages that the copies share.
    gc.collect()
    gc.freeze()
    copies: dict[str, int] = {}
    # Not `for line in sys.stdin`: a child must not inherit lines that were read ahead.
    orders = os.fdopen(0, "rb", buffering=0)
    while order := orders.readline():
        asked = json.loads(order)
        if stop := asked.get("stop"):
            if copy := copies.pop(stop, None):
                # A server that has ended by itself must not end this process, and the other servers with it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(copy, signal.SIGKILL)
            continue
        if child := os.fork():
            copies[asked["start"]] = child
            continue
        os.close(hold)
        os.close(0)
        try:
            log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            threading.Thread(target=end_with, args=(alive,), daemon=True).start()
            serve(application, 0, Path(asked["start"]))
        except BaseException:
            traceback.print_exc()
        os._exit(1)


def end_with(pipe: int) -> None:
    """Exits when the process at the other end of the pipe ends."""
    os.read(pipe, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
