"""Pre-installed packages: mount a directory of packages, here an unpacked bundle."""

from pathlib import Path

from bundler.azureml.core import Environment, Workspace
from bundler.azureml.core.model import InferenceConfig, Model

ws = Workspace.from_config()

# Instead of `virtualenv myenv` and `pip install -r requirements.txt`: build a verified bundle and unpack it.
bundle = Environment.from_pip_requirements("myenv", "requirements.txt").build(ws, output="dist")
if not Path("inference_dir/code/myenv").exists():
    bundle.unpack("inference_dir/code/myenv")

myenv = Environment(name="my_azureml_env")
myenv.docker.enabled = True
myenv.docker.base_image = "mcr.microsoft.com/azureml/sklearn-0.24.1-ubuntu18.04-py37-cpu-inference"
myenv.python.user_managed_dependencies = True

myenv.environment_variables = {"AZUREML_EXTRA_PYTHON_LIB_PATH": "myenv/lib/python3.7/site-packages"}

model = Model.register(ws, model_path="model", model_name="weights")
config = InferenceConfig("score.py", source_directory="inference_dir/code", environment=myenv)
package = Model.package(ws, [model], config, generate_dockerfile=True)
package.save("context-preinstalled")
print("context-preinstalled")
