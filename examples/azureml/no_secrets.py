"""No secrets: print the Dockerfile of an environment."""

from bundler.azureml.core import Environment, Workspace

ws = Workspace.from_config()

env = Environment("no-secrets")  # create new Environment
env.register(ws)  # register to the workspace
details = env.get_image_details(ws)
print(details["ingredients"]["dockerfile"])
