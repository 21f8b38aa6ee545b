"""One file a kind: gather, decide, apply, report."""
