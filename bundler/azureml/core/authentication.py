"""Facade: the classes that authenticate with Azure; a workspace on this machine ignores them."""

from __future__ import annotations

from typing import Any

from bundler.azureml._service_names import ServiceMembers, find_name, missing_member
from bundler.redaction import register_secret

__all__ = [
    "ArmTokenAuthentication",
    "AzureCliAuthentication",
    "InteractiveLoginAuthentication",
    "MsiAuthentication",
    "ServicePrincipalAuthentication",
    "TokenAuthentication",
]


class _Authentication(metaclass=ServiceMembers):
    """Takes any parameters, and stores none."""

    def __init__(self, *values: Any, **named: Any) -> None:
        del values, named

    def __getattr__(self, name: str) -> Any:
        """Raise the error of an attribute that needs the service.

        :raises ServiceError: for such an attribute; it is not an ``AttributeError``.
        """
        raise missing_member(type(self), name)


class InteractiveLoginAuthentication(_Authentication):
    """Ignored; accepted for compatibility."""


class AzureCliAuthentication(_Authentication):
    """Ignored; accepted for compatibility."""


class MsiAuthentication(_Authentication):
    """Ignored; accepted for compatibility."""


class TokenAuthentication(_Authentication):
    """Ignored; accepted for compatibility."""


class ServicePrincipalAuthentication(_Authentication):
    """Ignored; accepted for compatibility. No message shows the password."""

    def __init__(
        self, tenant_id: object, service_principal_id: object, service_principal_password: str, **options: Any
    ) -> None:
        super().__init__(tenant_id, service_principal_id, **options)
        register_secret(str(service_principal_password))


class ArmTokenAuthentication(_Authentication):
    """Ignored; accepted for compatibility. No message shows the token."""

    def __init__(self, arm_access_token: str, **options: Any) -> None:
        super().__init__(**options)
        register_secret(str(arm_access_token))


def __getattr__(name: str) -> Any:
    """Return a name of the original's module that needs the service."""
    return find_name(__name__, name)
