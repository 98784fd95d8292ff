"""Print the conda dependencies of a curated environment."""

from bundler.azureml.core import Environment, Workspace

ws = Workspace.from_config()
envs = Environment.list(ws)

env = envs["AzureML-PyTorch-1.1-GPU"]
print(env.python.conda_dependencies.serialize_to_string())
