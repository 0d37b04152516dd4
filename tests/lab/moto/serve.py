"""Serves the lab's AWS API: moto with the lab's patches, behind waitress, which keeps connections alive.

    python serve.py --port 0 --port-file /some/file     # the port is in the file once the server answers
    python serve.py --port 5000 --unpatched             # moto without the patches, to show why one is needed

It listens on loopback only. Its state is in memory: a restart gives an empty account. `app.py` lists the `/lab/…`
paths.
"""

import argparse
import os
import sys
import threading
from pathlib import Path

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
    parser.add_argument("--until-stdin-ends", action="store_true", help="exit at the end of standard input")
    return parser.parse_args()


def end_with_stdin() -> None:
    """Exits when the process at the other end of standard input's pipe ends."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    args = arguments()
    if args.until_stdin_ends:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    # Imported here, because moto takes seconds to import and `--help` shouldn't.
    from waitress import create_server

    import app

    server = create_server(
        app.build(patched=not args.unpatched),
        host="127.0.0.1",
        port=args.port,
        threads=16,
        connection_limit=2000,
        backlog=1024,
        # Longer than clients keep connections (90 s), so that no request meets a closing one.
        channel_timeout=300,
        ident="AmazonEC2",
    )
    port = server.effective_port
    if args.port_file:
        beside = args.port_file.with_name(args.port_file.name + ".new")
        beside.write_text(f"{port}\n")
        beside.rename(args.port_file)
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    server.run()


if __name__ == "__main__":
    main()
