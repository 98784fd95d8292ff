"""An entry script: Azure ML's server calls init() once, then run() for each request."""

import json
import os
import pickle

import pandas as pd

model = None


def init():
    """Load the model from the directory that the image sets in AZUREML_MODEL_DIR."""
    global model  # noqa: PLW0603 - the contract of an entry script
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "iris.pkl")  # noqa: PTH118 - as in Azure ML's documentation
    with open(path, "rb") as stream:  # noqa: PTH123
        model = pickle.load(stream)  # noqa: S301 - our own file


def run(raw_data):
    """Return the kind of iris for each row of ``{"data": [[...], ...]}``."""
    rows = pd.DataFrame(json.loads(raw_data)["data"], columns=model["columns"])
    return [model["names"][number] for number in model["classifier"].predict(rows)]
