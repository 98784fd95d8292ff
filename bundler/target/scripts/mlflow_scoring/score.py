"""The entry script of an MLflow model, for an inference server whose image has none for MLflow.

A build context has a copy of this file. Requests and answers are those of Azure ML's images for MLflow:
``{"input_data": ..., "params": ...}``, where the data is a table (``columns``, ``index``, ``data``), an
array, or a mapping from the names of tensors to arrays.
"""

import json
import os

import mlflow.pyfunc
import numpy as np
import pandas as pd

_TEXT_FLAVORS = ("transformers", "langchain", "openai", "hftransformersv2")
"""The flavors whose models take text, lists and mappings as they are."""

_model = None


def init():
    """Load the model with the loader that its ``MLmodel`` names."""
    global _model  # noqa: PLW0603 - the server calls init() once
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], os.environ["MLFLOW_MODEL_FOLDER"])
    _model = mlflow.pyfunc.load_model(path)


def run(data):
    """Return the predictions for one request."""
    request = json.loads(data) if isinstance(data, (str, bytes, bytearray)) else data
    params = None
    if isinstance(request, dict) and "input_data" in request:
        params = request.get("params")
        request = request["input_data"]
    given = {} if params is None else {"params": params}
    return _answer(_model.predict(_input(request), **given))


def _input(values):
    """Return the data of a request as the type that models of MLflow expect."""
    if isinstance(values, dict) and "columns" in values and "data" in values:
        frame = pd.DataFrame(values["data"], columns=values["columns"], index=values.get("index"))
        return _typed(frame)
    if any(flavor in _model.metadata.flavors for flavor in _TEXT_FLAVORS):
        return values
    if isinstance(values, dict):
        return {name: np.asarray(value) for name, value in values.items()}
    return np.asarray(values) if isinstance(values, list) else values


def _typed(frame):
    """Return the table with the types of the signature: JSON does not distinguish 1 and 1.0."""
    schema = _model.metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return frame
    types = dict(zip(schema.input_names(), schema.pandas_types()))  # noqa: B905 - Python 3.7 has no `strict`
    return frame.astype({name: types[name] for name in frame.columns if name in types})


def _answer(result):
    """Return a prediction as values of JSON; a table is a list of its rows."""
    if isinstance(result, pd.Series):
        result = pd.DataFrame(result)
    if isinstance(result, pd.DataFrame):
        return result.to_dict(orient="records")
    return result.tolist() if isinstance(result, (np.ndarray, np.generic)) else result
