"""From pip: build a bundle of a requirements file.

The program of the documentation; only the first import differs.
"""

from bundler.azureml.core import Environment

env = Environment.from_pip_requirements("nlp", "requirements.txt")

bundle = env.build(output="dist")
print(bundle.path)
