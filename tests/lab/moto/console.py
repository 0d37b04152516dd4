"""Answers GetConsoleOutput with the output that the lab has set. AWS answers the last 64 KB."""

import base64
from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.responses.general import General

_KEPT = 64 * 1024
_texts: dict[str, bytes] = {}


def write(instance: str, text: str) -> None:
    """Sets an instance's console output."""
    _texts[instance] = text.encode()[-_KEPT:]


def install() -> None:
    """Replaces GetConsoleOutput."""

    def get_console_output(self: General) -> ActionResult:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        result: dict[str, Any] = {"InstanceId": instance.id, "Timestamp": utcnow()}
        if text := _texts.get(instance.id):
            result["Output"] = Base64EncodedString.from_encoded_bytes(base64.b64encode(text))
        return ActionResult(result)

    General.get_console_output = get_console_output
