"""The code of an image that serves an MLflow model without code of the user."""
