"""Stage 1, requirements: read files, lines, projects and conda specifications."""
