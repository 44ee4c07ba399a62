"""What the operator may do: the one list that the chart's roles and the tests are held against."""

from typing import Final

RULES: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("finetune-operator.io", "finetunepolicies"): frozenset(("get", "list", "watch")),
    ("finetune-operator.io", "finetunepolicies/status"): frozenset(("patch",)),
    ("finetune-operator.io", "finetuneruns"): frozenset(("get", "list", "watch")),
    ("finetune-operator.io", "finetuneruns/status"): frozenset(("patch",)),
    ("finetune-operator.io", "modelversions"): frozenset(("get", "list", "watch", "create")),
    ("finetune-operator.io", "modelversions/status"): frozenset(("patch",)),
    ("finetune-operator.io", "modelpromotions"): frozenset(("get", "list", "watch", "create")),
    ("finetune-operator.io", "modelpromotions/status"): frozenset(("patch",)),
    ("batch", "jobs"): frozenset(("get", "list", "watch", "create", "delete")),
    ("apps", "deployments"): frozenset(("get", "list", "watch", "patch")),
    ("", "pods"): frozenset(("get", "list", "watch")),
    ("", "pods/log"): frozenset(("get",)),
    ("", "configmaps"): frozenset(("get", "list", "watch", "create")),
    ("", "podtemplates"): frozenset(("get", "list", "watch")),
    ("events.k8s.io", "events"): frozenset(("create",)),
}
"""(API group, resource or subresource) -> verbs, in the watched namespaces (cluster-wide: in all)."""
