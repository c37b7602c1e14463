"""What holds on every platform, told once: each test runs on each stage (stages.py)."""
