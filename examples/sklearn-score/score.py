"""An entry script as Azure ML's inference images call it: init() once, run() for each request."""

import json

import pandas as pd
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

model = None
names = None


def init():
    """Make the model ready; a small one is trained on data that scikit-learn brings."""
    global model, names  # noqa: PLW0603 - the contract of an entry script
    iris = load_iris()
    frame = pd.DataFrame(iris.data, columns=iris.feature_names)
    model = LogisticRegression(max_iter=1000).fit(frame.values, iris.target)
    names = [str(name) for name in iris.target_names]


def run(raw_data):
    """Return the kind of iris for each row of ``{"data": [[...], ...]}``."""
    rows = json.loads(raw_data)["data"]
    return [names[number] for number in model.predict(rows)]
