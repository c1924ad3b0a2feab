"""From KubeSpawner's ``profile_list`` to ``site.yaml``: what ``panosc-hub migrate`` does. Pure."""
