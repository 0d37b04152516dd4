"""IAM's simulation of the policies of a user or role, which moto lacks.

IAM API reference, "SimulatePrincipalPolicy": each action on each resource, with the context keys of the request; the
decisions are `allowed`, `explicitDeny` and `implicitDeny`.
"""

from types import SimpleNamespace

from moto.core.responses import ActionResult
from moto.iam.access_control import AssumedRoleAccessKey, IAMUserAccessKey
from moto.iam.models import IAMBackend
from moto.iam.responses import IamResponse

from patches.authorization import documents_of
from patches.policy import Decision, decide

_WORDS = {Decision.ALLOW: "allowed", Decision.DENY: "explicitDeny", Decision.SILENT: "implicitDeny"}


def install() -> None:
    """Adds the action."""
    IamResponse.simulate_principal_policy = simulate_principal_policy


def simulate_principal_policy(self: IamResponse) -> ActionResult:
    """The action."""
    source = self._get_param("PolicySourceArn")
    documents = _documents(self.backend, source)
    context = {e["ContextKeyName"].lower(): e["ContextKeyValues"] for e in self._get_param("ContextEntries") or []}
    context["aws:principalarn"] = [source]
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": _WORDS[decide(documents, action, resource, context)],
            "MissingContextValues": [],
        }
        for action in self._get_param("ActionNames")
        for resource in self._get_param("ResourceArns") or ["*"]
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _documents(backend: IAMBackend, arn: str) -> list[str]:
    """The policies of the user or role; NoSuchEntity without it."""
    kind, _, path = arn.split(":", 5)[5].partition("/")
    name = path.rsplit("/", 1)[-1]
    if kind == "role":
        backend.get_role(name)
        return documents_of(
            AssumedRoleAccessKey.collect_policies(SimpleNamespace(backend=backend, _owner_role_name=name))
        )
    backend.get_user(name)
    return documents_of(IAMUserAccessKey.collect_policies(SimpleNamespace(backend=backend, _owner_user_name=name)))
