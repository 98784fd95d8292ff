"""``azureml.core.model`` in a container without azureml-core: ``Model.get_model_path`` alone.

A build context has a copy of this file if the code imports ``azureml.core`` and the bundle has no
such package. The models are in ``azureml-models/NAME/VERSION``, each version with one file or directory.
"""

import json
import os

__all__ = ["Model"]

_MODELS = "azureml-models"
_MAP = "model_config_map.json"


class ModelPaths(object):
    """A registered model in the container."""

    @staticmethod
    def get_model_path(model_name, version=None, _workspace=None):
        """Return the path of a model's file or directory; without a version, of the latest one.

        A name without such a directory is a path, relative to the working directory.
        """
        for root in _roots():
            folder = os.path.join(root, _MODELS, model_name)
            if not os.path.isdir(folder):
                continue
            wanted = str(version) if version is not None else _latest(os.listdir(folder))
            entries = _entries(os.path.join(folder, wanted))
            if len(entries) == 1:
                return os.path.join(folder, wanted, entries[0])
            if entries:
                raise ValueError(
                    "%s contains %d entries, expected one file or directory"
                    % (os.path.join(folder, wanted), len(entries))
                )
        if version is None and os.path.exists(model_name):
            return model_name
        wanted = model_name if version is None else "%s:%s" % (model_name, version)
        raise FileNotFoundError("model `%s` not found; known: %s" % (wanted, ", ".join(_known()) or "none"))


Model = ModelPaths  # the name in azureml-core


def _roots():
    """Return the directories that may contain ``azureml-models``; the last one contains this file."""
    here = os.path.abspath(__file__)
    own = os.path.dirname(os.path.dirname(os.path.dirname(here)))
    roots = (os.environ.get("AML_APP_ROOT"), os.getcwd(), own)
    return [root for root in roots if root]


def _latest(versions):
    """Return the largest number, or the last text of those that are not numbers."""
    return max(versions, key=lambda text: (text.isdigit(), int(text) if text.isdigit() else 0, text))


def _entries(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _known():
    """Return the models of the context, by its ``model_config_map.json``."""
    for root in _roots():
        try:
            with open(os.path.join(root, _MAP)) as stream:
                return sorted(json.load(stream)["modelsInfo"])
        except (OSError, ValueError, KeyError):
            pass
    return []
