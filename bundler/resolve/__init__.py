"""Resolve requirements to a lock, download its files and build its sdists."""
