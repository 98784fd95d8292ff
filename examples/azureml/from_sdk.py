"""Quick n' dirty: an environment without any file, and the ``env.yml`` it makes."""

from bundler.azureml.core import Environment
from bundler.azureml.core.conda_dependencies import CondaDependencies

conda = CondaDependencies()

# add channels
conda.add_channel("pytorch")

# add conda packages
conda.add_conda_package("python=3.7")
conda.add_conda_package("pytorch")
conda.add_conda_package("torchvision")

# add pip packages
conda.add_pip_package("pyyaml")

env = Environment("pytorch")
env.python.conda_dependencies = conda

conda.save("env_pytorch.yml")
print("env_pytorch.yml")

# `env.build(allow_import_failure=["fuse"])` makes the bundle, of two gigabytes; the fusepy
# that azureml-defaults brings wants a libfuse that few machines have.
