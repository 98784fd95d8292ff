"""The start of Azure ML's inference images, predicted."""
