"""The Python of a custom image: nothing is built; the named Python is looked at instead.

Run it with the path of a Python, or with that of one in an image and the image's archive:

    python custom_interpreter.py /opt/miniconda/bin/python image.tar
"""

import sys

from bundler.azureml.core import Environment

interpreter, *image = sys.argv[1:]

env = Environment("pytorch")

# set up custom docker image
env.docker.base_image = None
env.docker.base_dockerfile = "./Dockerfile"

# indicate how to run Python
env.python.user_managed_dependencies = True
env.python.interpreter_path = interpreter

found = env.build(
    base=image[0] if image else None, source_directory="inference_dir/code", entry_script="score.py"
)
print(found.checked.python_version, found.checked.files)
