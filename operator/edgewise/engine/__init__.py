"""Event intake, work queue, and the life of the process."""
