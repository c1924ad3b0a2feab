"""What is free, what fits and what a pod waits for, counted as the scheduler counts."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from panosc_hub.backends.kubernetes.capacity import Look, capacity, need_of
from panosc_hub.backends.kubernetes.limits import idle, limits
from panosc_hub.backends.kubernetes.placing import may_be_on, meets, tolerates
from panosc_hub.backends.kubernetes.records import (
    Condition,
    Node,
    Pod,
    Taint,
    Tolerance,
    Where,
)
from panosc_hub.backends.kubernetes.waiting import names, waiting
from panosc_hub.core.profiles import Limits, Profile, Wish, resolve
from tests.unit.backends.kubernetes.makers import (
    A100,
    GI,
    GPU,
    L4,
    PRODUCT,
    node,
    options,
    pod,
    profile,
)

GPU_NODE = {"labels": {PRODUCT: A100}}
ONE_GPU = {"gpus": {"type": "a100", "count": 1}, "options": {"gpu_products": {"a100": [A100]}}}


def counted(
    made: Profile, nodes: list[Node], pods: list[Pod] | None, configured: Any = None
) -> Any:
    resources, _ = resolve(made, Wish())
    need = need_of(made, resources, options(**made.options), configured)
    return capacity(need, Look(nodes, pods))


def free(made: Profile, nodes: list[Node], *pods: Pod, configured: Any = None) -> int:
    found: int = counted(made, nodes, list(pods), configured).free
    return found


def limit(made: Profile, nodes: list[Node], *pods: Pod) -> Limits | str:
    return limits(made, options(**made.options), Look(nodes, list(pods)))


# Where a pod may be


LABELS = {"a": "1", "n": "12", "word": "x", "empty": ""}


@pytest.mark.parametrize(
    ("key", "operator", "values", "fulfilled"),
    [
        ("a", "In", ("1", "2"), True),
        ("a", "In", ("2",), False),
        ("z", "In", ("1",), False),
        ("empty", "In", ("",), True),
        ("z", "In", ("",), False),
        ("a", "NotIn", ("2",), True),
        ("a", "NotIn", ("1",), False),
        ("z", "NotIn", ("1",), True),
        ("a", "Exists", (), True),
        ("empty", "Exists", (), True),
        ("z", "Exists", (), False),
        ("z", "DoesNotExist", (), True),
        ("a", "DoesNotExist", (), False),
        ("n", "Gt", ("11",), True),
        ("n", "Gt", ("12",), False),
        ("n", "Lt", ("13",), True),
        ("n", "Lt", ("12",), False),
        ("z", "Lt", ("13",), False),
        ("word", "Gt", ("1",), False),
        ("n", "Gt", ("many",), False),
        ("n", "Gt", (), False),
        ("a", "Like", ("1",), False),
        ("a", "", (), False),
    ],
)
def test_labels_are_compared_as_the_scheduler_does(
    key: str, operator: str, values: tuple[str, ...], fulfilled: bool
) -> None:
    assert meets(Condition(key, operator, values), LABELS) is fulfilled


@pytest.mark.parametrize(
    ("tolerance", "taint", "tolerated"),
    [
        (Tolerance(operator="Exists"), Taint("k", "v", "NoSchedule"), True),
        (Tolerance("k", "Exists"), Taint("k", "v", "NoExecute"), True),
        (Tolerance("k", "Exists", effect="NoSchedule"), Taint("k", "v", "NoExecute"), False),
        (Tolerance("k", "Exists"), Taint("other", "v", "NoSchedule"), False),
        (Tolerance("k", value="v"), Taint("k", "v", "NoSchedule"), True),
        (Tolerance("k", value="w"), Taint("k", "v", "NoSchedule"), False),
        (Tolerance("k"), Taint("k", "v", "NoSchedule"), False),
        (Tolerance("k"), Taint("k", "", "NoSchedule"), True),
        (Tolerance("z"), Taint("k", "v", "PreferNoSchedule"), True),
    ],
)
def test_taints_keep_away_who_does_not_tolerate_them(
    tolerance: Tolerance, taint: Taint, tolerated: bool
) -> None:
    assert tolerates([tolerance], taint) is tolerated


def test_any_term_will_do_but_all_of_it_and_an_empty_one_never_does() -> None:
    here = node("n1", labels=LABELS)
    yes, no = Condition("a", "Exists"), Condition("z", "Exists")
    assert may_be_on(Where(terms=((no,), (yes,))), here)
    assert not may_be_on(Where(terms=((no, yes),)), here)
    assert not may_be_on(Where(terms=((),)), here)
    assert may_be_on(Where(), here)
    assert may_be_on(Where(selector=(("a", "1"),)), here)
    assert not may_be_on(Where(selector=(("a", "1"), ("z", "1"))), here)
    by_name = Condition("metadata.name", "In", ("n1",), field=True)
    assert may_be_on(Where(terms=((by_name,),)), here)
    assert not may_be_on(Where(terms=((by_name,),)), node("n2", labels=LABELS))


# How many fit


def test_what_pods_request_is_taken_from_their_own_node() -> None:
    small = profile(cpus=2, memory="4G")
    nodes = [node("n1", 8, 32), node("n2", 8, 32)]
    assert free(small, nodes) == 8
    # Three CPUs left on each: room for one more each, not for three.
    assert free(small, nodes, pod("a", "n1", 5), pod("b", "n2", 5)) == 2
    assert free(small, nodes, pod("a", "n1", 1, memory=30)) == 4
    assert free(small, nodes, pod("a", "gone", 8)) == 8


def test_pods_that_ended_take_nothing_and_those_that_are_ending_still_do() -> None:
    small = profile(cpus=4, memory="4G")
    ended = pod("a", "n1", 8, phase="Succeeded")
    assert free(small, [node("n1", 8)], ended, pod("b", "n1", 8, phase="Failed")) == 2
    assert free(small, [node("n1", 8)], pod("a", "n1", 8, doomed=1.0)) == 0


def test_only_what_is_guaranteed_has_to_be_free() -> None:
    half = profile(cpus=4, memory="8G", options={"guarantee": {"cpus": "50%", "memory": "4G"}})
    assert free(half, [node("n1", 8, 64)]) == 4
    assert free(half, [node("n1", 800, 8)]) == 2


def test_a_node_takes_only_so_many_pods() -> None:
    tiny = profile(cpus=1, memory="1G", options={"guarantee": {"cpus": 0.1, "memory": "100M"}})
    there = node("n1", 64, 256, pods=5)
    assert free(tiny, [there], pod("a", "n1", 0.1), pod("b", "n1", 0.1)) == 3
    assert free(tiny, [there], *(pod(f"p{i}", "n1", 0.1) for i in range(7))) == 0


def test_nodes_that_are_out_or_keep_away_do_not_count() -> None:
    small = profile(cpus=8, memory="4G")
    taint = Taint("gpu", "yes", "NoSchedule")
    nodes = [node("n1"), node("n2", usable=False), node("n3", taints=(taint,))]
    assert free(small, nodes) == 1
    tolerant = profile(
        cpus=8, memory="4G", options={"tolerations": [{"key": "gpu", "operator": "Exists"}]}
    )
    assert free(tolerant, nodes) == 2
    assert free(small, nodes, configured={"tolerations": [{"operator": "Exists"}]}) == 2


def test_labels_decide_for_a_profile_and_for_all_of_a_hub() -> None:
    nodes = [node("n1", labels={"pool": "a"}), node("n2", labels={"pool": "b"})]
    by_profile = profile(cpus=8, memory="4G", options={"node_selector": {"pool": "a"}})
    assert free(by_profile, nodes) == 1
    assert free(profile(cpus=8, memory="4G"), nodes, configured={"node_selector": {"pool": "b"}})
    assert not free(by_profile, nodes[1:])
    expressions = [{"key": "pool", "operator": "NotIn", "values": ["a"]}]
    not_a = profile(cpus=8, memory="4G", options={"node_affinity": {"required": expressions}})
    assert counted(not_a, nodes, []).nodes == 1


def test_gpus_are_counted_by_product_and_slices_by_their_own_name() -> None:
    nodes = [node("n1", gpu=4, **GPU_NODE), node("n2", gpu=8, labels={PRODUCT: L4})]
    found = counted(profile(cpus=1, memory="1G", **ONE_GPU), nodes, [pod("a", "n1", gpu=3)])
    assert (found.free, found.total[GPU], found.used[GPU]) == (1, 4, 3)
    mig = profile(
        memory="1G",
        gpus={"type": "1g.10gb", "count": 2},
        options={"gpu_resource": {"1g.10gb": "nvidia.com/mig-1g.10gb"}},
    )
    slices = Node("n3", True, {}, (), {"cpu": 8000, "memory": 64 * GI, "nvidia.com/mig-1g.10gb": 7})
    assert free(mig, [*nodes, slices]) == 3
    shared = profile(memory="1G", gpus={"count": 1, "kind": "shard"})
    there = Node("n4", True, {}, (), {"cpu": 8000, "memory": 64 * GI, "nvidia.com/gpu.shared": 5})
    assert free(shared, [*nodes, there]) == 5


def test_a_session_never_spans_two_nodes() -> None:
    big = profile(cpus=6, memory="4G")
    found = counted(big, [node("n1", 4), node("n2", 4)], [])
    assert (found.free, found.possible, found.total["cpu"]) == (0, False, 8000)
    assert counted(big, [node("n1", 8)], [pod("a", "n1", 4)]).possible


def test_a_node_that_became_smaller_takes_nothing_from_the_others() -> None:
    small = profile(cpus=4, memory="4G")
    found = counted(small, [node("n1", 4), node("n2", 8)], [pod("a", "n1", 16)])
    assert found.free == 2
    assert found.used["cpu"] == 4000


# Pods that wait


def test_a_waiting_pod_takes_the_place_that_it_will_get() -> None:
    made = profile(cpus=1, memory="1G", **ONE_GPU)
    nodes = [node("n1", gpu=2, **GPU_NODE), node("n2", gpu=2, **GPU_NODE)]
    assert free(made, nodes, pod("w", gpu=1)) == 3
    # It takes nothing where it fits nowhere, and nothing of what it does not ask for.
    assert free(made, nodes, pod("w", gpu=3)) == 4
    assert free(made, nodes, pod("w", cpu=1)) == 4
    assert free(made, nodes, *(pod(f"w{i}", gpu=1) for i in range(9))) == 0


def test_a_waiting_pod_takes_nothing_where_it_may_not_be() -> None:
    made = profile(cpus=1, memory="1G", **ONE_GPU)
    nodes = [node("n1", gpu=2, **GPU_NODE), node("n2", gpu=2, labels={PRODUCT: L4})]
    other = Where(terms=((Condition(PRODUCT, "In", (L4,)),),))
    assert free(made, nodes, pod("w", gpu=2, where=other)) == 2
    same = Where(terms=((Condition(PRODUCT, "In", (A100,)),),))
    assert free(made, nodes, pod("w", gpu=2, where=same)) == 0


def test_the_first_in_line_is_placed_first() -> None:
    made = profile(cpus=1, memory="1G", **ONE_GPU)
    nodes = [node("n1", gpu=4, **GPU_NODE)]
    old, young = pod("w1", gpu=3, created=1), pod("w2", gpu=2, created=2)
    assert free(made, nodes, young, old) == 1
    urgent = pod("w2", gpu=2, created=2, priority=10)
    assert free(made, nodes, urgent, old) == 2


def test_a_pod_that_is_held_back_or_ending_waits_for_nothing() -> None:
    made = profile(cpus=1, memory="1G", **ONE_GPU)
    nodes = [node("n1", gpu=1, **GPU_NODE)]
    gated = pod("w", gpu=1)
    assert free(made, nodes, gated) == 0
    gated = Pod("jhub", "w", "u", phase="Pending", requests={GPU: 1}, where=None)
    assert free(made, nodes, gated) == 1
    assert free(made, nodes, pod("w", gpu=1, doomed=5.0)) == 1


def test_placeholders_give_way_to_a_session() -> None:
    small = profile(cpus=8, memory="4G")
    running = pod("placeholder", "n1", 8, priority=-10)
    assert free(small, [node("n1", 8)], running, pod("another", cpu=8, priority=-10)) == 1


# The largest


def test_a_range_ends_at_the_largest_node_without_what_belongs_to_it() -> None:
    made = profile(cpus={"max": 99}, memory={"max": "9T"})
    nodes = [node("n1", 8, 64), node("n2", 32, 16)]
    assert limit(made, nodes) == Limits(cpus=32, memory=64 * GI)
    daemon = pod("proxy", "n2", cpu=0.5, memory=1, fixed=True)
    # What others use now may be free later; what belongs to the node never is.
    assert limit(made, nodes, daemon, pod("a", "n1", 8, 60)) == Limits(cpus=31, memory=64 * GI)


def test_a_range_ends_where_its_guarantee_still_fits() -> None:
    half = profile(cpus={"max": 99}, memory={"max": "9T"}, options={"guarantee": {"cpus": "50%"}})
    daemon = pod("proxy", "n1", cpu=2, fixed=True, memory=4)
    found = limit(half, [node("n1", 8, 64)], daemon)
    assert found == Limits(cpus=8, memory=60 * GI)


def test_memory_ends_at_an_amount_that_people_write() -> None:
    odd = Node("n1", True, {}, (), {"cpu": 7910, "memory": 65_123_456 * 1024})
    found = limit(profile(cpus={"max": 99}, memory={"max": "9T"}), [odd])
    assert found == Limits(cpus=7, memory=62 * GI)
    small = Node("n1", True, {}, (), {"cpu": 2000, "memory": 1_999_999_999})
    found = limit(profile(memory={"min": "1G", "max": "9T"}), [small])
    assert found == Limits(cpus=2, memory=1907 * 2**20)


def test_with_gpus_only_nodes_that_have_them_count() -> None:
    made = profile(
        cpus={"max": 99},
        memory={"max": "9T"},
        gpus={"type": ["a100", "l4"], "count": {"min": 1, "max": 8}},
        options={"gpu_products": {"a100": [A100], "l4": [L4]}},
    )
    nodes = [
        node("n1", 64, 512),
        node("n2", 16, 64, gpu=4, **GPU_NODE),
        node("n3", 8, 32, gpu=1, labels={PRODUCT: L4}),
    ]
    assert limit(made, nodes) == Limits(16, 64 * GI, {"a100": 4, "l4": 1})
    optional = profile(
        cpus={"max": 99}, memory={"max": "9T"}, gpus={"count": {"min": 0, "max": 8, "default": 0}}
    )
    assert limit(optional, nodes) == Limits(64, 512 * GI, {"": 4})


def test_shares_have_limits_of_their_own() -> None:
    made = profile(memory="1G", gpus={"type": "l4", "count": {"max": 9}, "kind": "shard"})
    there = Node("n1", True, {}, (), {"cpu": 8000, "memory": 8 * GI, "nvidia.com/gpu.shared": 4})
    assert limit(made, [there]) == Limits(8, 8 * GI, {"shard:l4": 4})


def test_why_no_node_is_of_use_is_said() -> None:
    elsewhere = profile(memory="1G", options={"node_selector": {"pool": "x"}})
    assert limit(elsewhere, []) == "the cluster has no nodes"
    assert limit(elsewhere, [node("n1")]) == (
        "no node of the cluster is of the kind that it asks for"
    )
    out = node("n2", usable=False, labels={"pool": "x"})
    assert limit(elsewhere, [node("n1"), out]) == "its nodes are out of service now"
    both = profile(cpus=32, memory="64G")
    assert limit(both, [node("n1", 8, 64), node("n2", 32, 16)]) == (
        "no node of the cluster has that many CPUs and that much memory together"
    )


def test_what_is_idle_is_idle_for_such_a_session() -> None:
    made = profile(
        memory="1G",
        gpus={"type": ["a100", "l4"], "count": {"min": 0, "max": 4, "default": 0}},
        options={"gpu_products": {"a100": [A100], "l4": [L4]}, "node_selector": {"pool": "x"}},
    )
    nodes = [
        node("n1", 8, gpu=4, labels={PRODUCT: A100, "pool": "x"}),
        node("n2", 8, gpu=2, labels={PRODUCT: L4, "pool": "x"}),
        node("n3", 8, gpu=2, labels={PRODUCT: L4}),
        node("n4", 4, labels={"pool": "x"}),
    ]
    look = Look(nodes, [pod("a", "n1", 2.5, gpu=1), pod("w", cpu=1, gpu=1)])
    found = idle(made, options(**made.options), look)
    # The waiting pod may be anywhere with a GPU: it is thought of as on n1.
    assert found == {"cpus": 4 + 8 + 4, "gpu:a100": 2, "gpu:l4": 2}
    assert idle(profile(memory="1G"), options(), Look(nodes[3:], [])) == {"cpus": 4}


# What a pod waits for


CALLED = {GPU: "A100"}
FULL = [pod(f"r{i}", "n1", 1, gpu=1) for i in range(4)]


def said(waits: Pod, nodes: list[Node], *pods: Pod, called: Any = None) -> tuple[str, bool]:
    found = waiting(waits, Look(nodes, [*pods, waits]), CALLED if called is None else called)
    return found.words, found.possible


def test_a_gpu_is_waited_for_in_words() -> None:
    nodes = [node("n1", 64, 256, gpu=4)]
    me = pod("me", gpu=1, created=9)
    assert said(me, nodes, *FULL) == ("Waiting for 1 × A100: 4 of 4 in use", True)
    others = [pod("w1", gpu=1, created=1), pod("w2", gpu=2, created=2), pod("w3", created=3)]
    line = "Waiting for 1 × A100: 4 of 4 in use, 2 ahead of you"
    assert said(me, nodes, *FULL, *others) == (line, True)
    assert said(me, nodes, *FULL, others[0])[0].endswith(", 1 ahead of you")
    assert said(me, nodes, *FULL, called={})[0] == "Waiting for 1 × GPU: 4 of 4 in use"


def test_who_is_ahead_is_the_schedulers_to_say() -> None:
    nodes = [node("n1", 64, 256, gpu=4), node("n2", 8, 32, gpu=1, labels={"pool": "x"})]
    busy = [*FULL, pod("r5", "n2", gpu=1)]
    me = pod("me", gpu=1, created=5)
    young = pod("young", gpu=1, created=8)
    urgent = pod("urgent", gpu=1, created=9, priority=100)
    late = pod("late", gpu=1, created=1, priority=-5)
    assert "ahead" not in said(me, nodes, *busy, young, late)[0]
    assert said(me, nodes, *busy, young, urgent)[0].endswith(", 1 ahead of you")
    only_x = Where(selector=(("pool", "x"),))
    not_x = Where(terms=((Condition("pool", "DoesNotExist"),),))
    here = pod("me", gpu=1, created=5, where=not_x)
    assert "ahead" not in said(here, nodes, *busy, pod("w", gpu=1, where=only_x))[0]


@pytest.mark.parametrize(
    ("me", "pods", "words"),
    [
        (pod("me", cpu=4), [pod("a", "n1", 6)], "Waiting for 4 CPUs: 6 of 8 in use"),
        (pod("me", cpu=1), [pod("a", "n1", 7.5)], "Waiting for 1 CPU: 7.5 of 8 in use"),
        (
            pod("me", memory=16),
            [pod("a", "n1", memory=24)],
            "Waiting for 16 GB memory: 24 GB of 32 GB in use",
        ),
        (
            pod("me", memory=30),
            [Pod("x", "a", "a", phase="Running", node="n1", requests={"memory": 2_700_000_000})],
            "Waiting for 30 GB memory: 2.5 GB of 32 GB in use",
        ),
    ],
)
def test_cpus_and_memory_are_waited_for_in_words(me: Pod, pods: list[Pod], words: str) -> None:
    assert said(me, [node("n1", 8, 32)], *pods) == (words, True)


def test_scattered_room_is_told_from_none() -> None:
    nodes = [node("n1", gpu=2), node("n2", gpu=2)]
    ones = [pod("a", "n1", gpu=1), pod("b", "n2", gpu=1)]
    assert said(pod("me", gpu=2), nodes, *ones)[0] == (
        "Waiting for 2 × A100 on one node: at most 1 of 4 free together"
    )


def test_what_is_missing_beside_a_free_gpu_is_told() -> None:
    nodes = [node("n1", 8, gpu=1), node("n2", 8)]
    assert said(pod("me", cpu=4, gpu=1), nodes, pod("a", "n1", 6))[0] == (
        "Waiting for 4 CPUs on a node with 1 × A100 free: 6 of 8 in use"
    )


def test_a_full_node_is_full_of_pods() -> None:
    nodes = [node("n1", pods=1)]
    assert said(pod("me"), nodes, pod("a", "n1"))[0] == (
        "Waiting for a place: every node has as many pods as it may"
    )


def test_who_could_start_but_for_those_ahead_waits_for_them() -> None:
    nodes = [node("n1", gpu=2)]
    assert said(pod("me", gpu=1, created=5), nodes, pod("w", gpu=1)) == (
        "Waiting for a node: 1 ahead of you",
        True,
    )


def test_what_cannot_be_told_is_not_made_up() -> None:
    nodes = [node("n1", gpu=2)]
    assert said(pod("me", gpu=1), nodes) == ("", True)  # a volume, or the scheduler is slow
    assert waiting(pod("me", gpu=1), Look(nodes, None)).words == ""
    gated = Pod("jhub", "me", "u", phase="Pending", requests={GPU: 9})
    assert said(gated, nodes) == ("", True)


@pytest.mark.parametrize(
    ("me", "words"),
    [
        (pod("me", gpu=8), "no node of the cluster has 8 × A100: the most is 4"),
        (pod("me", cpu=99), "no node of the cluster has 99 CPUs: the most is 64"),
        (pod("me", memory=999), "no node of the cluster has 999 GB memory: the most is 256 GB"),
        (pod("me", cpu=32, gpu=1, where=Where(selector=(("x", "1"),))),
         "no node of the cluster is of the kind that this session asks for"),
    ],
)  # fmt: skip
def test_what_no_node_has_is_not_waited_for(me: Pod, words: str) -> None:
    nodes = [node("n1", 64, 256), node("n2", 8, 32, gpu=4)]
    assert said(me, nodes) == (words, False)


def test_what_no_node_has_together_is_not_waited_for() -> None:
    nodes = [node("n1", 64, 256), node("n2", 8, 32, gpu=4)]
    words, possible = said(pod("me", cpu=32, gpu=1), nodes)
    assert words == "no node of the cluster has 1 × A100, 32 CPUs and 1 GB memory together"
    assert not possible


def test_nodes_that_are_out_of_service_may_come_back() -> None:
    words, possible = said(pod("me"), [node("n1", usable=False)])
    assert "out of service now" in words
    assert possible


@pytest.mark.parametrize(
    ("kind", "shared", "shown"),
    [("a100", False, "A100"), ("l4", False, "L4"), ("1g.10gb", False, "1g.10gb"),
     ("Tesla-T4", False, "Tesla-T4"), ("l4", True, "share of an L4")],
)  # fmt: skip
def test_gpus_are_called_what_people_call_them(kind: str, shared: bool, shown: str) -> None:
    made = profile(memory="1G", gpus={"type": kind, "count": 1})
    resources, _ = resolve(made, Wish())
    assert list(names(resources, options(), shared).values()) == [shown]
    assert names(resolve(profile(), Wish())[0], options(), False) == {}


# How long it takes


def test_a_large_cluster_is_counted_before_anybody_notices() -> None:
    dice = random.Random(1)
    nodes = [
        node(f"n{i}", 64, 256, **({"gpu": 4, **GPU_NODE} if i % 5 == 0 else {})) for i in range(500)
    ]
    pods = [
        pod(f"p{i}", f"n{dice.randrange(500)}", dice.choice((0.5, 1, 4)), dice.choice((1, 8)))
        for i in range(4500)
    ]
    pods += [pod(f"w{i}", "", dice.choice((1, 70)), 4, created=i) for i in range(500)]
    profiles = [
        profile(cpus={"min": 1, "max": 99}, memory="4G", **(ONE_GPU if i % 2 else {}))
        for i in range(20)
    ]
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        look = Look(nodes, pods)
        for made in profiles:
            own = options(**made.options)
            limits(made, own, look)
            idle(made, own, look)
            resources, _ = resolve(made, Wish())
            assert capacity(need_of(made, resources, own), look).free > 0
        best = min(best, time.process_time() - began)
    # About 60 ms of an idle core; a second is a mistake in how it is counted.
    assert best < 0.5
