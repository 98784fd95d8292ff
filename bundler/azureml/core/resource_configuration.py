"""Facade: the resources that a model needs; they are stored with it and shown, but nothing enforces them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bundler.errors import UsageError

__all__ = ["ResourceConfiguration"]


@dataclass
class ResourceConfiguration:
    """The resources that a model needs.

    :raises UsageError: if a value is not a number above 0.
    """

    cpu: float | None = None
    """The number of CPU cores."""
    memory_in_gb: float | None = None
    """The memory in GB."""
    gpu: int | None = None
    """The number of GPUs."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value in vars(self).items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (is_number and value > 0):
                raise UsageError(f"`{name}` must be a number above 0", evidence=(f"found   {value!r}",))

    def serialize(self) -> dict[str, Any]:
        """Return the resources as JSON values, under the names of the original."""
        return {"cpu": self.cpu, "memoryInGB": self.memory_in_gb, "gpu": self.gpu}

    @classmethod
    def deserialize(cls, payload_obj: Mapping[str, Any] | None) -> Self | None:
        """Return the resources that `serialize` returned; None for None."""
        if payload_obj is None:
            return None
        return cls(payload_obj.get("cpu"), payload_obj.get("memoryInGB"), payload_obj.get("gpu"))
