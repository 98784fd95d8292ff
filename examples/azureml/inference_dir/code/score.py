"""An entry script: what Azure ML's server calls."""

import os

import requests
import yaml


def init():
    """Say where the model is."""
    print("the model is at", os.environ["AZUREML_MODEL_DIR"])


def run(data):
    """Answer with what came, as YAML."""
    return {"answer": yaml.safe_dump(data), "requests": requests.__version__}
