"""Train the model that ``code/score.py`` loads: run ``python3.7 train.py`` with the bundle on PYTHONPATH."""

import pickle
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

iris = load_iris()
frame = pd.DataFrame(iris.data, columns=iris.feature_names)
model = {
    "classifier": LogisticRegression(max_iter=1000).fit(frame, iris.target),
    "columns": [str(name) for name in iris.feature_names],
    "names": [str(name) for name in iris.target_names],
}
with Path(__file__).with_name("model").joinpath("iris.pkl").open("wb") as stream:
    pickle.dump(model, stream, protocol=4)
