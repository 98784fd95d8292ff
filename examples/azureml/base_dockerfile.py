"""Python packages in a custom image: the base Dockerfile, then the packages, without a network."""

from bundler.azureml.core import Environment, Workspace

ws = Workspace.from_config()
env = Environment.from_pip_requirements("nlp", "requirements.txt")

# just as an example
env.docker.base_image = None  # translation: do not use your default base image
env.docker.base_dockerfile = "./Dockerfile"  # translation: use my Dockerfile as base instead

details = env.get_image_details(ws)
print(details["ingredients"]["dockerfile"])

env.build(ws, output="dist", context="context-dockerfile")
print("context-dockerfile")
