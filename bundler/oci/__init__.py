"""OCI and Docker images in files, read and written without a daemon."""
