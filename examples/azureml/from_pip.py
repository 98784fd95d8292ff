"""From pip: an environment of a requirements file becomes a bundle.

The document's program; only the first import is another.
"""

from bundler.azureml.core import Environment

env = Environment.from_pip_requirements("nlp", "requirements.txt")

bundle = env.build(output="dist")
print(bundle.path)
