"""Which part of which volume a session gets for each data area."""

from __future__ import annotations

from typing import Any

import pytest

from panosc_hub.backends.kubernetes.manifest import finish
from panosc_hub.backends.kubernetes.mounts import Mounts, plan_mounts, wrong_volumes
from panosc_hub.core.proposals import Area, Mode
from panosc_hub.errors import BackendError
from tests.unit.backends.kubernetes.makers import NASTY, is_known, options

NFS = {"nfs": {"server": "nfs.facility.example", "path": "/export/data"}}
PVC = {"persistentVolumeClaim": {"claimName": "scratch"}}
RO, RW = Mode.READ_ONLY, Mode.READ_WRITE


def area(path: str, mode: Mode = RO, name: str = "") -> Area:
    return Area(name or path.rpartition("/")[2], path, "/data", mode)


def planned(*areas: Area, volumes: dict[str, Any] | None = None, **more: Any) -> Mounts:
    found = plan_mounts(areas, volumes or {"/data": NFS}, proposal="HG-123", **more)
    check(found)
    return found


def check(found: Mounts) -> None:
    """Kubernetes takes what was planned."""
    bare = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "notebook"}]}}
    pod = finish(bare, options=options(), labels={}, secret="s", mounts=found)
    assert is_known(pod, "V1Pod")
    names = [volume["name"] for volume in pod["spec"]["volumes"]]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for name in names)
    (container,) = pod["spec"]["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(names)
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(set(paths)) == len(paths)


def test_only_the_areas_own_directory_of_a_server_is_mounted() -> None:
    found = planned(area("/data/id02/HG-123/raw"), area("/data/id02/HG-123/work", RW))
    raw, work = found.mounts
    assert raw["mountPath"] == "/data/id02/HG-123/raw"
    assert "subPath" not in raw
    source = found.volumes[raw["name"]]["nfs"]
    assert source == {
        "server": "nfs.facility.example",
        "path": "/export/data/id02/HG-123/raw",
        "readOnly": True,
    }
    assert (raw["readOnly"], raw["recursiveReadOnly"]) == (True, "IfPossible")
    assert "readOnly" not in work
    assert "readOnly" not in found.volumes[work["name"]]["nfs"]


def test_an_area_of_a_claim_is_always_the_same_part_of_it() -> None:
    found = planned(
        area("/scratch/HG-123/a", RW), area("/scratch/HG-123/b"), volumes={"/scratch": PVC}
    )
    assert len(found.volumes) == 1
    assert [m["subPath"] for m in found.mounts] == ["HG-123/a", "HG-123/b"]
    assert [m.get("readOnly", False) for m in found.mounts] == [False, True]
    (volume,) = found.volumes.values()
    assert volume["persistentVolumeClaim"] == {"claimName": "scratch"}
    (names,) = found.areas_by_volume.values()
    assert names == ("a", "b")


def test_a_volume_of_read_only_areas_alone_is_attached_read_only() -> None:
    found = planned(area("/scratch/HG-123/raw"), volumes={"/scratch": PVC})
    (volume,) = found.volumes.values()
    assert volume["persistentVolumeClaim"]["readOnly"] is True
    csi = {"csi": {"driver": "cvmfs.example", "volumeAttributes": {"a": "b"}}}
    found = planned(area("/scratch/x"), volumes={"/scratch": csi})
    (volume,) = found.volumes.values()
    assert volume["csi"]["readOnly"] is True
    assert csi == {"csi": {"driver": "cvmfs.example", "volumeAttributes": {"a": "b"}}}


def test_the_longest_path_wins_and_a_similar_name_is_another_place() -> None:
    volumes = {"/": NFS, "/data": PVC, "/data/fast": NFS}
    for path, kind in (
        ("/data/fast/x", "nfs"),
        ("/data/fastest/x", "persistentVolumeClaim"),
        ("/database/x", "nfs"),
    ):
        (volume,) = planned(area(path), volumes=volumes).volumes.values()
        assert kind in volume, path


def test_an_area_without_a_volume_is_named_with_its_proposal() -> None:
    with pytest.raises(BackendError) as caught:
        planned(area("/data/HG-123/raw"), area("/elsewhere/HG-123/work"))
    assert "data area work of HG-123" in caught.value.sentence
    assert "no volume of this cluster has its path" in caught.value.sentence
    assert "/elsewhere" not in caught.value.sentence


def test_without_volumes_of_ours_the_administrators_own_are_all_there_is() -> None:
    assert plan_mounts([area("/data/x")], {}) == Mounts()


@pytest.mark.parametrize(
    "volumes",
    [
        {"/data": NFS},
        {"/data": PVC},
        {"/data": {"csi": {"driver": "d.example"}}},
        {"/data": {"hostPath": {"path": "/gpfs"}}},
    ],
)
def test_an_area_below_one_that_may_be_written_is_refused(volumes: dict[str, Any]) -> None:
    areas = (area("/data/HG-123", RW, "all"), area("/data/HG-123/raw"))
    with pytest.raises(BackendError, match="below the area all, which may be written"):
        planned(*areas, volumes=volumes, host_path_allowed=True)
    # The nearest one above counts, whatever is above that.
    areas = (area("/data/p"), area("/data/p/work", RW), area("/data/p/work/x"))
    with pytest.raises(BackendError, match="data area x of HG-123"):
        planned(*areas, volumes=volumes, host_path_allowed=True)


def test_an_area_is_seen_through_one_above_it_of_the_same_kind() -> None:
    found = planned(area("/data/p", RW, "all"), area("/data/p/work", RW))
    assert [m["mountPath"] for m in found.mounts] == ["/data/p"]
    (names,) = found.areas_by_volume.values()
    assert names == ("all", "work")


def test_a_writable_area_below_a_read_only_one_is_mounted_after_it() -> None:
    found = planned(area("/data/p/work", RW), area("/data/p", RO, "all"))
    assert [m["mountPath"] for m in found.mounts] == ["/data/p", "/data/p/work"]
    assert [m.get("readOnly", False) for m in found.mounts] == [True, False]


def test_of_two_areas_at_one_place_the_read_only_one_counts() -> None:
    found = planned(area("/data/p", RW, "a"), area("/data/p", RO, "b"))
    (mount,) = found.mounts
    assert mount["readOnly"] is True


def test_an_image_cannot_be_written() -> None:
    volumes = {"/data": {"image": {"reference": "quay.io/ours/data:1"}}}
    found = planned(area("/data/calibration"), volumes=volumes)
    assert found.mounts[0]["subPath"] == "calibration"
    with pytest.raises(BackendError, match="an image cannot be"):
        planned(area("/data/x", RW), volumes=volumes)


def test_directories_of_nodes_are_off_and_never_made_there() -> None:
    volumes = {"/data": {"hostPath": {"path": "/gpfs/data"}}}
    with pytest.raises(BackendError, match="hostPath is off"):
        planned(area("/data/p"), volumes=volumes)
    found = planned(area("/data/p"), volumes=volumes, host_path_allowed=True)
    (volume,) = found.volumes.values()
    assert volume["hostPath"] == {"path": "/gpfs/data/p", "type": "Directory"}
    assert wrong_volumes({"/data": {"hostPath": {"path": "/"}}}, host_path_allowed=True)


@pytest.mark.parametrize("recursive", ["", "IfPossible", "Enabled"])
def test_read_only_reaches_into_what_is_mounted_below(recursive: str) -> None:
    read, write = planned(area("/data/a"), area("/data/b", RW), recursive=recursive).mounts
    assert read.get("recursiveReadOnly", "") == recursive
    assert "recursiveReadOnly" not in write


@pytest.mark.parametrize(
    "path",
    [*(f"/data/{v}" for v in NASTY if ".." in v or not v.isprintable()),
     "/data/../etc", "/data/./x", "/data//x", "data/x", "//data/x", "/data/{x}", "/data/$(A)"],
)  # fmt: skip
def test_an_odd_path_is_never_mounted(path: str) -> None:
    with pytest.raises(BackendError):
        plan_mounts([area(path, name="raw")], {"/data": NFS}, proposal="HG-123")


def test_volumes_are_told_apart_by_their_names_alone() -> None:
    areas = [area(f"/data/{n}", name=n) for n in ("raw", "raw-2", "RAW", "é", "x" * 200, "r a/w")]
    areas += [area(f"/data/many/{i}", name="raw") for i in range(12)]
    found = planned(*areas)
    names = list(found.volumes)
    assert len(names) == len(areas)
    # Messages of the cluster are searched for these names.
    assert not any(a != b and a in b for a in names for b in names)


def test_a_volume_is_called_what_people_know() -> None:
    found = planned(
        area("/data/p/raw"), area("/scratch/a", RW), area("/scratch/b", RW),
        volumes={"/data": NFS, "/scratch": PVC},
    )  # fmt: skip
    assert set(found.words("HG-123").values()) == {
        "data area raw of HG-123",
        "data areas a, b of HG-123",
    }
    assert "data area raw" in found.words(None).values()


@pytest.mark.parametrize(
    ("volumes", "said"),
    [
        ({"data": NFS}, "is not a plain absolute path"),
        ({"/data/": NFS}, "is not a plain absolute path"),
        ({"/a/../b": NFS}, "is not a plain absolute path"),
        ({5: NFS}, "is not a plain absolute path"),
        ({"/data": {}}, "needs exactly one of nfs, hostPath"),
        ({"/data": {**NFS, **PVC}}, "needs exactly one of"),
        ({"/data": {"emptyDir": {}}}, "needs exactly one of"),
        ({"/data": {"nfs": {"server": "a"}}}, "nfs needs path"),
        ({"/data": {"nfs": None}}, "nfs needs path, server"),
        ({"/data": {"nfs": {"server": "a", "path": "b"}}}, "nfs.path is not a plain absolute"),
        ({"/data": {"csi": {"driver": "a", "subPath": "b"}}}, "csi has no subPath"),
        ({"/data": {"csi": {"fsType": "x"}}}, "csi needs driver"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_volumes_is_named(volumes: dict[Any, Any], said: str) -> None:
    (text,) = wrong_volumes(volumes, host_path_allowed=False)
    assert said in text
    with pytest.raises(BackendError, match="a setting of this Hub is wrong"):
        plan_mounts([area("/data/x")], volumes)
