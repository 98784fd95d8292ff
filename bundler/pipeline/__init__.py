"""Run the stages of a build in order."""
