"""The jobs that a simulation replays: from a file, a generator, or the database."""
