"""A content-addressed store of wheels, layers and results."""
