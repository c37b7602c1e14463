"""What should run, and why. Pure: no I/O, no clock, no event loop."""
