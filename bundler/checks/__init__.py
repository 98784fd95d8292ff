"""Stage 5, checks: imports, shared objects, the base, the user's code."""
