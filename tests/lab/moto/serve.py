"""The lab's AWS: moto, made stricter by our patches, behind waitress (which keeps connections alive; moto's own
server doesn't).

    python serve.py --port 0 --port-file /some/file     # the port is in the file once the server answers
    python serve.py --port 5000 --unpatched             # moto as it comes, to show why a patch is needed

It listens on loopback only, and its state lives in memory: a restart is an empty account. `app.py` says what `/lab/…`
offers.
"""

import argparse
import os
import sys
import threading
from pathlib import Path

# Read by moto while it is imported.
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
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--port-file", type=Path, help="write the port here once the server listens")
    parser.add_argument("--unpatched", action="store_true", help="moto as it comes, without the lab's patches")
    parser.add_argument("--until-stdin-ends", action="store_true", help="end when standard input does: with its owner")
    return parser.parse_args()


def end_with_stdin() -> None:
    """A pipe ends when the process that holds its other end does, however that goes."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    args = arguments()
    if args.until_stdin_ends:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    # Not at the top: moto takes seconds to import, and `--help` shouldn't.
    from waitress import create_server

    import app

    server = create_server(
        app.build(patched=not args.unpatched),
        host="127.0.0.1",
        port=args.port,
        threads=16,
        connection_limit=2000,
        backlog=1024,
        # Clients keep connections for 90 s; ours outlive that, so that no request meets a closing one.
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
