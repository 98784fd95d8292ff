"""An entry script as Azure ML's inference images call it: init() once, run() for each request."""

import json
import os
import pickle

import pandas as pd

model = None


def init():
    """Load the model from where the image says that it is."""
    global model  # noqa: PLW0603 - the contract of an entry script
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "iris.pkl")  # noqa: PTH118 - as the documents write it
    with open(path, "rb") as stream:  # noqa: PTH123
        model = pickle.load(stream)  # noqa: S301 - our own file


def run(raw_data):
    """Return the kind of iris for each row of ``{"data": [[...], ...]}``."""
    rows = pd.DataFrame(json.loads(raw_data)["data"], columns=model["columns"])
    return [model["names"][number] for number in model["classifier"].predict(rows)]
