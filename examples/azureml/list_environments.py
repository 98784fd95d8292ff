"""List the registered and the curated environments."""

from bundler.azureml.core import Environment, Workspace

ws = Workspace.from_config()
envs: dict[str, Environment] = Environment.list(ws)

for name in envs:
    print(name)
