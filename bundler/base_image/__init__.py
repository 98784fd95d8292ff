"""The base image or host that a bundle is mounted into."""
