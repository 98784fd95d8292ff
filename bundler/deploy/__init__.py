"""Stage 7, outputs: build contexts, images, a local server."""
