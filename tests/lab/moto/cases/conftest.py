"""Runs every case against two servers: moto with the lab's patches, and unpatched moto.

A case is a generator: it sets up, yields, and then asserts AWS's documented behaviour. The part before the `yield` must
pass on both servers. The part after it must pass with the patches and fail without, or its patch isn't needed.
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
        # How many seconds to wait for work between calls.
        self.patience = patience
        self.seed = self.post("seed", {})

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Posts to one of the lab's control paths."""
        request = urllib.request.Request(f"{self.url}/lab/{path}", method="POST", data=json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def world(self) -> dict[str, Any]:
        """The present state, whatever Describe calls show."""
        with urllib.request.urlopen(f"{self.url}/lab/world") as answer:
            return json.load(answer)

    def without_groups(self) -> None:
        """Deletes all Auto Scaling groups: those of earlier cases would change when a case advances the clock."""
        scaling = self.client("autoscaling")
        groups = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        for group in [group for group in groups if not group.get("Status")]:
            scaling.delete_auto_scaling_group(AutoScalingGroupName=group["AutoScalingGroupName"], ForceDelete=True)

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        """A client with the operator's credentials, or with others from IMDS."""
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
                    raise RuntimeError(f"{' '.join(command)} did not start to listen:\n{log.read()}")
                time.sleep(0.05)
            try:
                yield Server(f"http://127.0.0.1:{port_file.read_text().strip()}", patience)
            finally:
                process.terminate()
                process.wait()


@pytest.fixture(scope="session")
def patched() -> Iterator[Server]:
    """The lab's patched server."""
    yield from _serve()


@pytest.fixture(scope="session")
def unpatched() -> Iterator[Server]:
    """Unpatched moto. It does nothing between calls, so waiting is short."""
    yield from _serve("--unpatched", patience=0.1)


def _run(case: Any, server: Server) -> tuple[str, BaseException | None]:
    """The part that a case reached on a server, and its error."""
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
    """Makes a test of each generator function: the case on both servers."""
    if not (
        inspect.isgeneratorfunction(obj) and not name.startswith("_") and obj.__module__ == collector.module.__name__
    ):
        return None

    def both(patched: Server, unpatched: Server) -> None:
        reached, error = _run(obj, patched)
        if error is not None:
            raise AssertionError(f"with the patches: {name} failed in its {reached}") from error
        reached, error = _run(obj, unpatched)
        assert reached != "scene", (
            f"without the patches: {name} failed before its yield, which proves nothing: {error!r}"
        )
        assert reached == "claim", f"{name} passes without the patches; remove its patch"

    both.__doc__ = obj.__doc__
    return pytest.Function.from_parent(collector, name=name, callobj=both)
