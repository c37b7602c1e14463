"""The HTTP server: /health, /metrics, /status and the page, made from the state that the loop keeps.

A new metric is one row in metrics/. Nothing here reads a queue, a platform or Redis.
Connections from outside are bounded in number, bytes and time.
"""
