"""Which nodes a pod may be on, by the scheduler's rules. Pure.

Node names, labels and taints only: what else may keep a pod from a node (volumes of a zone,
affinity to other pods, ports of the node) is not looked at.
https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .records import Condition, Node, Taint, Tolerance, Where

_REPELS = ("NoSchedule", "NoExecute")


def may_be_on(where: Where, node: Node) -> bool:
    """Whether a pod may be on ``node``; whether there is room is another question."""
    labels = node.labels
    return (
        all(labels.get(key) == value for key, value in where.selector)
        and (not where.terms or any(_fulfils(term, node) for term in where.terms))
        and all(tolerates(where.tolerations, taint) for taint in node.taints)
    )


def _fulfils(term: Iterable[Condition], node: Node) -> bool:
    conditions = tuple(term)
    # A term that says nothing matches nothing, unlike everywhere else.
    return bool(conditions) and all(
        meets(each, {"metadata.name": node.name} if each.field else node.labels)
        for each in conditions
    )


def meets(condition: Condition, labels: Mapping[str, str]) -> bool:
    """Whether ``labels`` fulfil one expression; one of an unknown kind is fulfilled by nothing."""
    value, values = labels.get(condition.key), condition.values
    match condition.operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values  # a node without the label is fine
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                there, bound = int(value or ""), int(values[0])
            except (ValueError, IndexError):
                return False
            return there > bound if condition.operator == "Gt" else there < bound
    return False


def tolerates(tolerations: Iterable[Tolerance], taint: Taint) -> bool:
    """Whether ``taint`` lets a pod with these onto its node."""
    return taint.effect not in _REPELS or any(_covers(each, taint) for each in tolerations)


def _covers(tolerance: Tolerance, taint: Taint) -> bool:
    if tolerance.effect and tolerance.effect != taint.effect:
        return False
    if tolerance.operator == "Exists":
        return not tolerance.key or tolerance.key == taint.key
    return (tolerance.key, tolerance.value) == (taint.key, taint.value)
