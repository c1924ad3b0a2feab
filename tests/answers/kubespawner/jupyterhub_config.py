"""As a facility without the chart has it: everything in Python, with functions and hooks."""

c = get_config()  # noqa: F821

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.hub_connect_ip = "10.1.2.3"
c.OAuthenticator.client_secret = "do-not-print-me"
c.Spawner.cmd = ["jupyterhub-singleuser"]
c.Spawner.start_timeout = 300
c.Spawner.mem_limit = "1G"
c.KubeSpawner.image = "registry.example.org/jupyter/base:7"
c.KubeSpawner.mem_limit = "2G"
c.KubeSpawner.mem_guarantee = "512M"
c.KubeSpawner.tolerations.append({"key": "jupyter", "operator": "Exists"})
c.KubeSpawner.image_pull_secrets = ["registry"]
c.KubeSpawner.extra_resource_limits = {"smarter-devices/fuse": "1"}
c.KubeSpawner.singleuser_uid = 1000
c.KubeSpawner.supplemental_gids = lambda spawner: [100]


async def pre_spawn(spawner):
    spawner.environment["SITE"] = "here"


c.KubeSpawner.pre_spawn_hook = pre_spawn
c.KubeSpawner.modify_pod_hook = lambda spawner, pod: pod
c.KubeSpawner.profile_list = {
    "tiny": {"display_name": "Tiny", "kubespawner_override": {"mem_limit": None, "cpu_limit": 0.5}},
    "shared-gpu": {
        "display_name": "GPU share",
        "kubespawner_override": {
            "extra_resource_guarantees": {"nvidia.com/gpu.shared": 2},
            "uid": lambda spawner: 1000,
            "environment": {"NAME": "{username}", "LEVEL": 3, "SECRET": {"valueFrom": {}}},
        },
        "profile_options": {
            "tag": {
                "display_name": "Tag",
                "unlisted_choice": {
                    "enabled": True,
                    "display_name": "Tag",
                    "validation_regex": "[0-9.]+",
                    "kubespawner_override": {
                        "image": "registry.example.org/gpu:{value}",
                        "extra_labels": {"tag": "{value}"},
                    },
                },
            }
        },
    },
}
