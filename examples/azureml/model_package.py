"""Model.package: a build context with packages, code and a model, without a network and without root."""

from bundler.azureml.core import Environment, Workspace
from bundler.azureml.core.model import InferenceConfig, Model

ws = Workspace.from_config()

env = Environment.from_pip_requirements("nlp", "requirements.txt")
env.docker.base_image = "mcr.microsoft.com/azureml/sklearn-0.24.1-ubuntu18.04-py37-cpu-inference"

model = Model.register(ws, model_path="model", model_name="weights")
config = InferenceConfig("score.py", source_directory="inference_dir/code", environment=env)
package = Model.package(ws, [model], config, generate_dockerfile=True)
package.wait_for_creation(show_output=True)
package.save("context-model")
print("context-model")

# To write an image directly: `generate_dockerfile=False, base="base.tar"`, then `package.pull("image.tar")`.
