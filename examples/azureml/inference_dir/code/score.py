"""An entry script: Azure ML's server calls init() once, then run() for each request."""

import os

import requests
import yaml


def init():
    """Print the directory of the model."""
    print("the model is at", os.environ["AZUREML_MODEL_DIR"])


def run(data):
    """Return the data of the request as YAML."""
    return {"answer": yaml.safe_dump(data), "requests": requests.__version__}
