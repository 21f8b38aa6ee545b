"""Pure: the Kubernetes objects and the router configuration that a decision asks for."""
