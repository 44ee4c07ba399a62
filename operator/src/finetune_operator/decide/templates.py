"""The PodTemplates that a policy names: whether there is one to make Jobs from, and what is wrong with it."""

from typing import Final

from ..api.policy import Policy
from ..api.run import RunSpec
from .decision import TemplateRole
from .views import PolicyView, Problem, TemplateView

QUEUE_NOT_ALLOWED: Final = "QueueNotAllowed"

ROLES: Final[tuple[TemplateRole, ...]] = ("train", "cpu")


def usable_template(role: TemplateRole, template: TemplateView | None, policy: Policy | None) -> TemplateView | Problem:
    """Return the template if Jobs can be made from it, else why not."""
    if template is not None:
        return template.problem or template
    if policy is None:
        return Problem("PolicyNotFound", "the policy, which names the PodTemplates, is gone; create it again")
    name = policy.spec.pod_templates.train if role == "train" else policy.spec.pod_templates.cpu
    return Problem("PodTemplateNotFound", f"PodTemplate {name!r} is not there; create it in this namespace")


def queue_of(policy: Policy | None, run: RunSpec | None) -> str | None:
    """Return the queue of a Job: the policy's, else the run's; else its PodTemplate's own label may name one."""
    by_policy = policy.spec.jobs.queue_name if policy is not None else None
    return by_policy or (run.queue_name if run is not None else None)


def unused_queue(policy: Policy | None, run: RunSpec) -> Problem | None:
    """Return that the queue which a run names is not used, because its policy names another."""
    if run.queue_name is None or queue_of(policy, run) == run.queue_name:
        return None
    text = (
        f"spec.queueName {run.queue_name!r} is not used: all Jobs of policy {run.policy!r} go to queue "
        f"{queue_of(policy, run)!r}, by its spec.jobs.queueName"
    )
    return Problem(QUEUE_NOT_ALLOWED, text)


def templates_problem(view: PolicyView) -> Problem | None:
    """Return what is wrong with the policy's PodTemplates (row D2), or None."""
    for role in ROLES:
        template = usable_template(role, view.train_template if role == "train" else view.cpu_template, view.policy)
        if isinstance(template, Problem):
            return template
    return None
