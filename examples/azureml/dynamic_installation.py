"""Dynamic installation: the image installs the packages at its start, here from wheels next to the code."""

from bundler.azureml.core import Environment, Workspace
from bundler.azureml.core.model import InferenceConfig, Model

ws = Workspace.from_config()

myenv = Environment(name="my_azureml_env")
myenv.docker.enabled = True
myenv.docker.base_image = "mcr.microsoft.com/azureml/sklearn-0.24.1-ubuntu18.04-py37-cpu-inference"
myenv.python.user_managed_dependencies = True

myenv.environment_variables = {"AZUREML_EXTRA_REQUIREMENTS_TXT": "requirements.txt"}

model = Model.register(ws, model_path="model", model_name="weights")
config = InferenceConfig("score.py", source_directory="inference_dir/code", environment=myenv)
package = Model.package(ws, [model], config, generate_dockerfile=True)
package.save("context-dynamic")
print("context-dynamic")
