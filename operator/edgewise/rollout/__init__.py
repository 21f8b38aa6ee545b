"""Pure: revisions, and how one takes the place of another."""
