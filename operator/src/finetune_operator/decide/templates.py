"""The PodTemplates that a policy names: whether there is one to make Jobs from, and what is wrong with it."""

from typing import Final, Protocol

from ..api.policy import Policy, TemplateRole
from ..api.run import RunSpec
from .views import PolicyView, Problem, TemplateView

QUEUE_NOT_ALLOWED: Final = "QueueNotAllowed"

ROLES: Final[tuple[TemplateRole, ...]] = ("train", "cpu", "evaluate", "scan", "rebuild")

_OF_RUNS: Final[tuple[TemplateRole, ...]] = ("train", "cpu", "evaluate")
"""What no run can do without; scans and rebuilds say themselves that they have no PodTemplate."""


class Templates(Protocol):
    """A view with the PodTemplates of a policy, as they are; those that are not there are None."""

    @property
    def cpu_template(self) -> TemplateView | None:
        """For preparing."""

    @property
    def evaluate_template(self) -> TemplateView | None:
        """For evaluating and verifying."""


def evaluating_template(view: Templates, policy: Policy | None) -> TemplateView | None:
    """Return what evaluate and verify are made from: their own PodTemplate where the policy names one, else `cpu`."""
    own = policy is not None and policy.spec.pod_templates.evaluate is not None
    return view.evaluate_template if own else view.cpu_template


def evaluating_role(policy: Policy | None) -> TemplateRole:
    """Return the role that evaluate and verify are made by."""
    return "evaluate" if policy is not None and policy.spec.pod_templates.evaluate is not None else "cpu"


def training_role(run: RunSpec) -> TemplateRole:
    """Return the role that training is made by; a rebuild takes longer, and may have a PodTemplate of its own."""
    return "rebuild" if run.rebuilds else "train"


def usable_template(role: TemplateRole, template: TemplateView | None, policy: Policy | None) -> TemplateView | Problem:
    """Return the template if Jobs can be made from it, else why not."""
    if template is not None:
        return template.problem or template
    if policy is None:
        text = "the policy, which names the PodTemplates, is gone, or is of another model by now; create it again"
        return Problem("PolicyNotFound", text)
    name = policy.spec.pod_templates.of(role)
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
    seen: dict[TemplateRole, TemplateView | None] = {
        "train": view.train_template,
        "cpu": view.cpu_template,
        "evaluate": evaluating_template(view, view.policy),
    }
    for role in _OF_RUNS:
        template = usable_template(role, seen[role], view.policy)
        if isinstance(template, Problem):
            return template
    return None
