"""The edgewise command."""
