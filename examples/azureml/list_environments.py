"""The registered environments, and the curated ones."""

from bundler.azureml.core import Environment, Workspace

ws = Workspace.from_config()
envs: dict[str, Environment] = Environment.list(ws)

for name in envs:
    print(name)
