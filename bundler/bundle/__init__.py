"""Stages 4 and 6, layers and bundle: plan, build, write, read."""
