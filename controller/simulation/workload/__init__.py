"""The jobs that a simulation replays: from a file (traces), made up (generators), or from the database."""
