"""The Python of a custom image: check that it has the imports of the code, without building anything.

Pass the path of a Python, or the path of a Python in an image and the archive of the image:

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
