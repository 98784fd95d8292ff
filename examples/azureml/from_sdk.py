"""Quick n' dirty: define an environment without a file, and write its ``env.yml``."""

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

# To build the bundle of two gigabytes: `env.build(allow_import_failure=["fuse"])`. azureml-defaults
# requires fusepy, whose module `fuse` needs the system library libfuse to import.
