"""From conda: build a bundle of an ``env.yml``, and log each translation to a requirement.

The documentation calls the method ``from_conda_specifications``, Azure ML's SDK
``from_conda_specification``. Both names work here.
"""

import logging

from bundler.azureml.core import Environment

logging.basicConfig(level=logging.INFO, format="%(message)s")

env = Environment.from_conda_specifications("nlp", "env.yml")

bundle = env.build(output="dist")
print(bundle.path)
