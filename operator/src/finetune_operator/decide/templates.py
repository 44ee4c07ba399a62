"""The PodTemplates that a policy names: whether there is one to make Jobs from, and what is wrong with it."""

from typing import Final, Literal

from ..api.policy import Policy
from .views import PolicyView, Problem, TemplateView

Source = Literal["train", "cpu"]
"""Which of the policy's two templates a Job is made from."""

SOURCES: Final[tuple[Source, ...]] = ("train", "cpu")


def usable_template(source: Source, template: TemplateView | None, policy: Policy | None) -> TemplateView | Problem:
    """Return the template if Jobs can be made from it, else why not."""
    if template is not None:
        return template.problem or template
    if policy is None:
        return Problem("PolicyNotFound", "the policy, which names the PodTemplates, is gone; create it again")
    name = policy.spec.pod_templates.train if source == "train" else policy.spec.pod_templates.cpu
    return Problem("PodTemplateNotFound", f"PodTemplate {name!r} is not there; create it in this namespace")


def templates_problem(view: PolicyView) -> Problem | None:
    """Return what is wrong with the policy's PodTemplates (row D2), or None."""
    for source in SOURCES:
        template = usable_template(source, view.train_template if source == "train" else view.cpu_template, view.policy)
        if isinstance(template, Problem):
            return template
    return None
