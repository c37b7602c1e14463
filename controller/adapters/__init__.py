"""What talks to the world: one file per technology."""
