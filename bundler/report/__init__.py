"""Views of finished bundles: a summary, the difference of two bundles, and a page."""
