"""Registered environments: names and versions that never change."""
