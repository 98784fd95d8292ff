"""The content-addressed store: wheels, layers, segments and cached results."""
