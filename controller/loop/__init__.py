"""The loop: leads, observes, decides, acts, reports. Uses ports, never an adapter."""
