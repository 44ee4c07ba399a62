"""The PodTemplates that a policy names: whether there is one to make Jobs from, and what is wrong with it."""

from typing import Final

from ..api.policy import Policy
from .decision import TemplateRole
from .views import PolicyView, Problem, TemplateView

ROLES: Final[tuple[TemplateRole, ...]] = ("train", "cpu")


def usable_template(role: TemplateRole, template: TemplateView | None, policy: Policy | None) -> TemplateView | Problem:
    """Return the template if Jobs can be made from it, else why not."""
    if template is not None:
        return template.problem or template
    if policy is None:
        return Problem("PolicyNotFound", "the policy, which names the PodTemplates, is gone; create it again")
    name = policy.spec.pod_templates.train if role == "train" else policy.spec.pod_templates.cpu
    return Problem("PodTemplateNotFound", f"PodTemplate {name!r} is not there; create it in this namespace")


def templates_problem(view: PolicyView) -> Problem | None:
    """Return what is wrong with the policy's PodTemplates (row D2), or None."""
    for role in ROLES:
        template = usable_template(role, view.train_template if role == "train" else view.cpu_template, view.policy)
        if isinstance(template, Problem):
            return template
    return None
