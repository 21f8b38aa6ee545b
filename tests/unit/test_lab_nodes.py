"""What a node's files say, what its cgroups are made of, and what is still mounted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import cgroups, nodeconfig
from lab.errors import LeftoverError
from lab.images import pip_settings
from lab.leftovers import mounts_below
from lab.nodeconfig import NodeFacts

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
90 22 0:41 / /var/lib/lab/nodes/edge-1/a\\040b rw - tmpfs tmpfs rw
91 22 0:42 / /var/lib/lab-2/nodes rw - tmpfs tmpfs rw
"""


def facts(name: str) -> NodeFacts:
    folder = Path("/var/lib/lab/nodes") / name
    return NodeFacts(
        name=name,
        address="198.18.0.2",
        pods="198.19.2.0/24",
        every_pod="198.19.0.0/20",
        host="198.18.0.1",
        dns="198.19.128.10",
        folder=folder,
        keys=Path("/var/lib/lab/keys"),
        cgroup=f"lab/{name}",
    )


def test_every_kubelet_has_a_cgroup_root_of_its_own() -> None:
    roots = {json.loads(nodeconfig.kubelet(facts(name)))["cgroupRoot"] for name in ("edge-1", "cloud-1")}
    assert roots == {"/lab/edge-1", "/lab/cloud-1"}


def test_nobody_asks_a_kubelet_anonymously() -> None:
    authentication = json.loads(nodeconfig.kubelet(facts("edge-1")))["authentication"]
    assert authentication["anonymous"] == {"enabled": False}


def test_addresses_are_leased_until_the_power_goes_and_no_longer() -> None:
    ptp = json.loads(nodeconfig.cni(facts("edge-1")))["plugins"][0]
    assert ptp["ipam"]["dataDir"].startswith("/run/")
    assert ptp["ipam"]["ranges"] == [[{"subnet": "198.19.2.0/24"}]]


def test_the_kubelets_folder_is_a_shared_mount_and_run_is_empty_at_every_start() -> None:
    script = nodeconfig.init_script(facts("edge-1"), Path("/cache/pause"))
    assert "mount --make-rshared /var/lib/kubelet" in script
    assert "mount -t tmpfs" in script
    assert script.endswith("exec '/cache/pause'")


def tree_v1(root: Path) -> None:
    for name in ("memory", "cpuset"):
        (root / name).mkdir(parents=True)
    for name, value in (("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n")):
        (root / "cpuset" / name).write_text(value)


def test_a_mixture_of_cgroup_trees_is_seen_as_version_one(tmp_path: Path) -> None:
    tree_v1(tmp_path)
    (tmp_path / "unified").mkdir()
    (tmp_path / "cpu").symlink_to("memory")
    assert [path.name for path in cgroups.hierarchies(tmp_path)] == ["cpuset", "memory", "unified"]


def test_version_two_is_one_tree_whose_controllers_are_handed_down(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "lab", tmp_path / "lab" / "edge-1"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu io memory rdma\n")
        (folder / "cgroup.subtree_control").write_text("io\n")
    assert cgroups.hierarchies(tmp_path) == [tmp_path]
    cgroups.create("lab/edge-1", tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (tmp_path / "lab" / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (tmp_path / "lab" / "edge-1" / "cgroup.subtree_control").read_text() == "io\n"
    assert cgroups.enter_script("lab/edge-1", tmp_path).count("cgroup.procs") == 1


def test_a_cgroup_goes_with_everything_below_it(tmp_path: Path) -> None:
    tree_v1(tmp_path)
    for name in ("memory", "cpuset"):
        (tmp_path / name / "lab" / "edge-1" / "pod").mkdir(parents=True)
    cgroups.remove("lab", tmp_path)
    assert not list(tmp_path.glob("*/lab"))
    cgroups.remove("lab", tmp_path)


def test_a_cgroup_in_use_is_named_with_its_processes(tmp_path: Path) -> None:
    tree_v1(tmp_path)
    used = tmp_path / "memory" / "lab"
    used.mkdir()
    (used / "cgroup.procs").write_text("4711\n")  # a plain file here keeps the folder from going
    with pytest.raises(LeftoverError, match="4711"):
        cgroups.remove("lab", tmp_path, within=0)


def test_mounts_are_told_by_folder_and_not_by_the_beginning_of_its_name() -> None:
    assert mounts_below(Path("/var/lib/lab"), MOUNTS) == ["/var/lib/lab/nodes/edge-1/a b"]
    assert mounts_below(Path("/srv"), MOUNTS) == []


def test_a_build_finds_packages_where_the_host_does() -> None:
    listing = "global.cert='/etc/ca.crt'\nglobal.no-color='true'\ninstall.find-links='/a\\n/b'\n"
    assert pip_settings(listing, {}) == {"cert": "/etc/ca.crt", "find-links": "/a /b"}
    assert pip_settings(listing, {"PIP_CERT": "/x"})["cert"] == "/x"
    assert pip_settings("", {"PATH": "/bin"}) == {}
