"""Stages 2 and 3, lock and wheels: resolve, lock, download, build sdists."""
