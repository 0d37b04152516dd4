"""Runs every case against both servers: moto with our patches, and moto as it comes.

A case is a generator: it sets the scene, yields, and then asserts what AWS does, as documented. The part before the
`yield` has to work on both. The part after it has to work with our patches and must fail without, or the patch it
stands for isn't needed.
"""

import inspect
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

HERE = Path(__file__).parent
_PATIENCE = 60.0


class Server:
    """A running server, and clients for it."""

    def __init__(self, url: str, patience: float = 10.0) -> None:
        self.url = url
        # How long to wait for what comes to be between calls.
        self.patience = patience
        self.seed = self.post("seed", {})

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Asks the lab's own side of the server."""
        request = urllib.request.Request(f"{self.url}/lab/{path}", method="POST", data=json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def world(self) -> dict[str, Any]:
        """What is so, whatever the API says."""
        with urllib.request.urlopen(f"{self.url}/lab/world") as answer:
            return json.load(answer)

    def without_groups(self) -> None:
        """Deletes all Auto Scaling groups: what a case leaves would go on beside the next ones, which put its clock
        forward."""
        scaling = self.client("autoscaling")
        groups = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        for group in [group for group in groups if not group.get("Status")]:
            scaling.delete_auto_scaling_group(AutoScalingGroupName=group["AutoScalingGroupName"], ForceDelete=True)

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        """A client with the operator's credentials, or others as IMDS gives them."""
        operator = self.seed["operator"]
        given = credentials or {
            "AccessKeyId": operator["access_key_id"],
            "SecretAccessKey": operator["secret_access_key"],
            "Token": None,
        }
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.seed["region"],
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["Token"],
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )


def _serve(*arguments: str, patience: float = 10.0) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder) / "port"
        command = [sys.executable, str(HERE.parent / "serve.py"), "--port-file", str(port_file), *arguments]
        with open(Path(folder) / "log", "w+") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            deadline = time.monotonic() + _PATIENCE
            while not port_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{' '.join(command)} doesn't listen:\n{log.read()}")
                time.sleep(0.05)
            try:
                yield Server(f"http://127.0.0.1:{port_file.read_text().strip()}", patience)
            finally:
                process.terminate()
                process.wait()


@pytest.fixture(scope="session")
def patched() -> Iterator[Server]:
    """The lab's AWS."""
    yield from _serve()


@pytest.fixture(scope="session")
def unpatched() -> Iterator[Server]:
    """moto as it comes: it does nothing between calls, so that there is nothing to wait for."""
    yield from _serve("--unpatched", patience=0.1)


def _run(case: Any, server: Server) -> tuple[str, BaseException | None]:
    """How far a case came on a server, and why not further."""
    steps = case(server)
    try:
        next(steps)
    except Exception as error:
        return "scene", error
    try:
        next(steps, None)
    except Exception as error:
        return "claim", error
    finally:
        server.without_groups()
    return "end", None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> Any:
    """Makes a test of each generator function in a file of cases: the case on both servers."""
    if not (
        inspect.isgeneratorfunction(obj) and not name.startswith("_") and obj.__module__ == collector.module.__name__
    ):
        return None

    def both(patched: Server, unpatched: Server) -> None:
        reached, error = _run(obj, patched)
        if error is not None:
            raise AssertionError(f"with our patches, {reached} of {name}") from error
        reached, error = _run(obj, unpatched)
        assert reached != "scene", (
            f"without our patches the scene of {name} can't be set, so that it proves nothing: {error!r}"
        )
        assert reached == "claim", f"moto does what AWS does by itself: the patch behind {name} can go"

    both.__doc__ = obj.__doc__
    return pytest.Function.from_parent(collector, name=name, callobj=both)
