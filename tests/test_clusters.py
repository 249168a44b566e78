"""The files that start clusters: they fit Ray's schema, our versions and our commands."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from parle_ray.console.arguments import make_parser, read
from parle_ray.errors import InputError

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "jobs" / "clusters"
VERSION = re.search(r"^ray\[.*\]==(.+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)


KUBERAY = {
    "": {"apiVersion", "kind", "metadata", "spec", "status"},
    "spec": {
        *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy"),
        *("entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId"),
        *("managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes"),
        *("submissionMode", "submitterConfig", "submitterPodTemplate", "suspend"),
        "ttlSecondsAfterFinished",
    },
    "spec.rayClusterSpec": {
        *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec"),
        *("gcsFaultToleranceOptions", "headServiceAnnotations", "managedBy", "rayVersion"),
        *("suspend", "upgradeStrategy", "workerGroupSpecs"),
    },
    "spec.rayClusterSpec.authOptions": {"mode", "secretName"},
    "spec.rayClusterSpec.headGroupSpec": {
        *("enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType"),
        "template",
    },
    "spec.rayClusterSpec.workerGroupSpecs": {
        *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts"),
        *("rayStartParams", "replicas", "resources", "scaleStrategy", "suspend", "template"),
    },
}
"""Fields of ray.io/v1, from KubeRay's API types; what is not among them, Kubernetes drops."""


def unknown_fields(value: Any, path: str = "") -> list[str]:
    """Fields of a RayJob that KubeRay does not know; those of pods are Kubernetes' own."""
    if isinstance(value, list):
        return [name for item in value for name in unknown_fields(item, path)]
    if path not in KUBERAY:
        return []
    prefix = f"{path}." if path else ""
    wrong = [f"{prefix}{name}" for name in value if name not in KUBERAY[path]]
    return wrong + [
        name for key, inner in value.items() for name in unknown_fields(inner, f"{prefix}{key}")
    ]


def content(name: str) -> Any:
    return yaml.safe_load((CLUSTERS / name).read_text())


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml", "on_premise.yaml"])
def test_a_launcher_file_fits_rays_schema_and_asks_for_the_token(name: str) -> None:
    made = prepare_config(content(name))
    validate_config(made)
    starts = [*made["head_start_ray_commands"], *made["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in one for one in starts if "ray start" in one)
    assert any("dashboard-host=127.0.0.1" in one for one in starts)
    assert "~/.ray/auth_token" in made["file_mounts"]


def test_the_kubernetes_job_has_our_ray_a_token_and_a_command_that_is_read() -> None:
    assert VERSION is not None
    job = content("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == VERSION[1]
    assert f"rayproject/ray:{VERSION[1]}-" in (CLUSTERS / "Dockerfile").read_text()
    assert cluster["authOptions"] == {"mode": "token"}
    python, _, module, *argv = shlex.split(spec["entrypoint"])
    assert (python, module) == ("python", "jobs.train")
    config, _ = read(make_parser("train", ""), argv)
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == config.num_replicas
    for one in (cluster["headGroupSpec"], group):
        pod = one["template"]["spec"]
        mounted = {volume["name"] for volume in pod["volumes"]}
        assert all(v["name"] in mounted for c in pod["containers"] for v in c["volumeMounts"])
    assert config.storage_path.startswith("/shared")


def test_the_kubernetes_job_has_only_fields_that_kuberay_knows_and_those_it_requires() -> None:
    job = content("rayjob.yaml")
    assert unknown_fields(job) == []
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec["shutdownAfterJobFinishes"] or "ttlSecondsAfterFinished" not in spec
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert {"rayStartParams", "template"} <= set(group)
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    spec["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 3
    assert unknown_fields(job) == ["spec.rayClusterSpec.workerGroupSpecs.replica"]


def test_a_command_with_a_mistake_in_it_would_be_seen() -> None:
    with pytest.raises(InputError):
        read(make_parser("train", ""), ["--num_rounds", "1", "--gpus_per_replic", "1"])
