"""Launch templates: idempotent by client token, with only the given data.

EC2 API reference, "CreateLaunchTemplate" (ClientToken, names, TagSpecifications: the tags of the template itself) and
"CreateLaunchTemplateVersion" (SourceVersion: the new version inherits what isn't specified);
EC2 User Guide, "Instance user data" (16 KB before encoding). Describing them is in describe.py.
"""

import json
import re
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models.launch_templates import LaunchTemplateBackend
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.utils import parse_user_data

from patches import errors, tags
from patches.instances import check_user_data, template_of

_NAME = re.compile(r"[a-zA-Z0-9()./_\-]{3,128}")


def install() -> None:
    """Replaces CreateLaunchTemplate; checks the data of new versions."""
    LaunchTemplates.create_launch_template = create_launch_template
    _create_version()


def described(self: LaunchTemplates, template: Any) -> dict[str, Any]:
    """EC2 API reference, "LaunchTemplate": a template without its versions."""
    return {
        "CreateTime": template.create_time,
        "CreatedBy": f"arn:{self.partition}:iam::{self.current_account}:root",
        "DefaultVersionNumber": template.default_version_number,
        "LatestVersionNumber": template.latest_version_number,
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "Tags": template.get_tags(),
    }


def _made(self: LaunchTemplates, template: Any) -> ActionResult:
    return ActionResult({"LaunchTemplate": described(self, template)})


def create_launch_template(self: LaunchTemplates) -> ActionResult:
    """The action; the same token with the same arguments answers the same template."""
    backend = self.ec2_backend
    name = self._get_param("LaunchTemplateName")
    if not _NAME.fullmatch(name or ""):
        raise errors.of(
            "InvalidLaunchTemplateName.MalformedException",
            "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the "
            "following characters: - ( ) . / _.",
        )
    token = self._get_param("ClientToken")
    words = json.dumps({k: v for k, v in dict(self.params).items() if k != "ClientToken"}, sort_keys=True, default=str)
    tokens = backend.__dict__.setdefault("template_tokens", {})
    if token in tokens:
        before, template_id = tokens[token]
        if before != words:
            raise errors.of(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        if template_id in backend.launch_templates:
            return _made(self, backend.launch_templates[template_id])
    data = self._get_param("LaunchTemplateData", {})
    data["UserData"] = parse_user_data(data.get("UserData"))
    check_user_data(data["UserData"])
    specified = self._parse_tag_specification("launch-template")
    tags.check(specified.get("launch-template", {}))
    template = LaunchTemplateBackend.create_launch_template(
        backend, name, self._get_param("VersionDescription"), data, specified
    )
    if token:
        tokens[token] = (words, template.id)
    return _made(self, template)


def _create_version() -> None:
    inner = LaunchTemplates.create_launch_template_version

    def create_launch_template_version(self: LaunchTemplates) -> ActionResult:
        data = self._get_param("LaunchTemplateData", {})
        if "UserData" in data:
            data["UserData"] = parse_user_data(data["UserData"])
            check_user_data(data["UserData"])
        if source := self._get_param("SourceVersion"):
            named = {"LaunchTemplateId": self._get_param("LaunchTemplateId")}
            named["LaunchTemplateName"] = self._get_param("LaunchTemplateName")
            inherited = template_of(self.ec2_backend, named).get_version(source).data
            data.update({name: value for name, value in inherited.items() if name not in data})
        return inner(self)

    LaunchTemplates.create_launch_template_version = create_launch_template_version
