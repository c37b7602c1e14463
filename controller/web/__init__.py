"""The HTTP server: health, metrics, status and the page."""
