"""The Kubernetes backend: a session is a pod."""
