"""Stage 7, pure: the YAML files of a managed online endpoint that runs an image of `package`.

The image has the code, the models and the server, so the deployment names neither: it is a
custom container (BYOC). Source: Azure ML's CLI (v2) reference, "managed online deployment YAML
schema" and "environment YAML schema".
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from bundler.data.azure_image import PUBLIC_PORT
from bundler.errors import UsageError
from bundler.paths import printable

__all__ = ["DEPLOYMENT", "ENVIRONMENT", "Routes", "endpoint_files", "parse_routes"]

Routes = Mapping[str, tuple[int, str]]
"""The port and path of ``liveness``, ``readiness`` and ``scoring``."""
ENVIRONMENT, DEPLOYMENT = "environment.yml", "deployment.yml"

_SCHEMA = "https://azuremlschemas.azureedge.net/latest/{}.schema.json"
_HEAD = """\
# Push the image to the registry of the workspace, and write its name there as `image` in both files:
#   docker build --network=none -t {tag} .
#   az ml environment create -f {environment}
#   az ml online-deployment create -f {deployment}
"""
_ROUTES: Routes = {
    "liveness": (PUBLIC_PORT, "/"),
    "readiness": (PUBLIC_PORT, "/"),
    "scoring": (PUBLIC_PORT, "/score"),
}
_ROUTE = re.compile(r"(liveness|readiness|scoring)=(\d{1,5})(/\S*)", re.ASCII)
_EXAMPLE = "--route liveness=8080/ping --route scoring=8080/predictions/iris"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 32
"""Characters of the name of an endpoint; three at least, the first a letter."""
_SIZE = "Standard_DS3_v2"
_LAST_PORT = 65535


def parse_routes(texts: Sequence[str]) -> Routes:
    """Return the routes of several ``--route NAME=PORT/PATH``; readiness is liveness if it is not given.

    :raises UsageError: if one has another form, or liveness or scoring is missing.
    """
    routes: dict[str, tuple[int, str]] = {}
    for text in texts:
        match = _ROUTE.fullmatch(text)
        if match is None or not 0 < int(match[2]) <= _LAST_PORT or match[1] in routes:
            raise UsageError(
                f"invalid `--route {printable(text)}`",
                evidence=("wanted  liveness, readiness or scoring once, as NAME=PORT/PATH",),
                hint=_EXAMPLE,
            )
        routes[match[1]] = (int(match[2]), match[3])
    missing = [name for name in ("liveness", "scoring") if name not in routes]
    if missing:
        raise UsageError(f"missing route: {', '.join(missing)}", hint=_EXAMPLE)
    return {"liveness": routes["liveness"], "readiness": routes["liveness"], **routes}


def endpoint_files(
    name: str, version: str, tag: str, env: Mapping[str, str], routes: Routes | None = None
) -> dict[str, bytes]:
    """Return the two files, by name.

    :param name: the name of the bundle; the endpoint gets a name derived from it.
    :param version: its version.
    :param tag: the name of the image.
    :param env: the variables that the image sets; a deployment may change them.
    :param routes: those of the image's own server; None are those of Azure ML's server.
    """
    config = {
        f"{route}_route": {"path": path, "port": port} for route, (port, path) in (routes or _ROUTES).items()
    }
    environment = {"name": name, "image": tag, "inference_config": config}
    deployment = {
        "$schema": _SCHEMA.format("managedOnlineDeployment"),
        "name": "blue",
        "endpoint_name": _endpoint_name(name),
        "environment": environment,
        "environment_variables": dict(env),
        "instance_type": _SIZE,
        "instance_count": 1,
    }
    alone = {"$schema": _SCHEMA.format("environment"), "version": version, **environment}
    return {ENVIRONMENT: _yaml(alone, tag), DEPLOYMENT: _yaml(deployment, tag)}


def _endpoint_name(name: str) -> str:
    """Return a valid name of an endpoint: letters, digits and single hyphens."""
    short = _NOT_IN_NAMES.sub("-", name.lower()).strip("-")
    if not short[:1].isalpha() or len(short) < 3:  # noqa: PLR2004 - the least length
        short = f"endpoint-{short}"
    return short[:_LONGEST_NAME].strip("-")


def _yaml(content: Mapping[str, Any], tag: str) -> bytes:
    writer = YAML()
    writer.width = 1 << 16  # an image's name is never folded
    text = io.StringIO()
    writer.dump(content, text)
    return (_HEAD.format(tag=tag, environment=ENVIRONMENT, deployment=DEPLOYMENT) + text.getvalue()).encode()
