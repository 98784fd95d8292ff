"""From conda: an environment of an ``env.yml`` becomes a bundle; each translation is logged.

The document calls the method `from_conda_specifications`; Azure ML's SDK has it
without the last letter. Both work here.
"""

import logging

from bundler.azureml.core import Environment

logging.basicConfig(level=logging.INFO, format="%(message)s")

env = Environment.from_conda_specifications("nlp", "env.yml")

bundle = env.build(output="dist")
print(bundle.path)
