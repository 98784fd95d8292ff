"""Facts as data: Azure ML's images, the inference server, curated environments, conda names, findings."""
