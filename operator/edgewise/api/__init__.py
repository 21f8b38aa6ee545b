"""The kinds of edgewise.dev, their conditions and reasons, and the CRD generator."""
