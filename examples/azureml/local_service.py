"""Model.deploy: the real inference server on this machine, with packages, code and a model."""

from bundler.azureml.core import Environment, Workspace
from bundler.azureml.core.model import InferenceConfig, Model
from bundler.azureml.core.webservice import LocalWebservice

ws = Workspace.from_config()

env = Environment.from_pip_requirements("nlp", "requirements.txt")
model = Model.register(ws, model_path="model", model_name="weights", tags={"area": "nlp"})
config = InferenceConfig("score.py", source_directory="inference_dir/code", environment=env)

service = Model.deploy(ws, "local", [model], config, LocalWebservice.deploy_configuration(), overwrite=True)
service.wait_for_deployment(show_output=True)
print(service.state, service.run('{"x": 1}'))
service.delete()
