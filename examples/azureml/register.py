"""Registered environments: a version never changes, and the same content keeps its version."""

from bundler.azureml.core import Environment, Workspace

ws = Workspace.from_config()

env = Environment.from_pip_requirements("nlp", "requirements.txt")
registered = env.register(ws)
print(registered.name, registered.version)

again = Environment.get(ws, "nlp", label="latest")
bundle = again.build(ws, output="dist")
print(bundle.path)
