"""Facade: the run of a training script outside of the service, as `Run.get_context` returns it.

A script logs metrics and uploads files to its run. Offline, metrics are kept in the object and logged,
and files stay where they are. The names of both kinds of methods are data (`bundler.data.azureml_names`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Self
from uuid import uuid4

from bundler.azureml._service_names import NeedsService, find_name
from bundler.azureml.exceptions import ServiceAttributeError, ServiceError
from bundler.data.azureml_names import RUN_METHODS, ServiceNames, service_of, service_of_member

__all__ = ["OfflineRun", "Run"]

_LOGGER = logging.getLogger("bundler")


def _service() -> ServiceNames:
    service = service_of("core.run", "get_run")
    if service is None:
        raise AssertionError("`get_run` is in the table")
    return service


class OfflineRun:
    """A run without the service."""

    def __init__(self, run_id: str | None = None) -> None:
        self.id = run_id or f"OfflineRun_{uuid4()}"
        self._run_id = self.id
        self._metrics: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the use of the run; it has no state."""

    def get_metrics(self, name: str | None = None) -> dict[str, Any]:
        """Return the metrics that were logged, by name: a value, or all of several values."""
        return {key: value for key, value in self._metrics.items() if name in (None, key)}

    def child_run(self, name: str | None = None, run_id: str | None = None, **_: object) -> OfflineRun:
        """Return a run whose ID starts with the ID of this one."""
        return OfflineRun(run_id or f"{self.id}.{name or uuid4()}")

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a method of the table.

        :raises ServiceAttributeError: for another name, so that ``hasattr`` distinguishes this run from one
            of the service, as with the original.
        """
        if name in RUN_METHODS.metrics:
            return self._log
        if name in RUN_METHODS.ignored:
            return partial(self._ignore, name)
        if name.startswith("__"):
            raise AttributeError(name)
        service = service_of_member("OfflineRun", name) or _service()
        raise ServiceAttributeError(f"Run.{name}", service.does, service.offline)

    def _log(self, name: str, value: object = None, *others: Any, **columns: Any) -> None:
        """Store a metric: a value, or the columns of a row, or the path or plot of an image."""
        named = {key: item for key, item in columns.items() if key not in ("description", "step")}
        if value is None:
            value = named.get("plot") or named.get("path") or named or [*others]
        known = self._metrics.get(name)
        if name in self._metrics:
            value = [*known, value] if isinstance(known, list) else [known, value]
        self._metrics[name] = value
        _LOGGER.info("metric    %s: %s", name, value)

    def _ignore(self, method: str, *values: object, **named: object) -> None:
        _LOGGER.info("run       %s is ignored without the service: %s", method, [*values, *named.values()])


class ServiceRun(metaclass=NeedsService):
    """A run of the service; offline, only `get_context` works."""

    _service = _service()

    @classmethod
    def get_context(cls, allow_offline: bool = True, **_: object) -> OfflineRun:
        """Return a run without the service.

        :raises ServiceError: if ``allow_offline`` is false.
        """
        if not allow_offline:
            raise ServiceError(
                "Run.get_context(allow_offline=False)", cls._service.does, cls._service.offline
            )
        return OfflineRun()


Run = ServiceRun
Run.__name__ = "Run"  # for messages


def __getattr__(name: str) -> Any:
    """Return the other names of the module."""
    return OfflineRun if name == "_OfflineRun" else find_name(__name__, name)
