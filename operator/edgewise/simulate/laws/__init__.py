"""The laws that a scenario can be run with: ours, and the ones it is compared with."""
