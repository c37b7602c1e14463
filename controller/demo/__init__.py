"""A whole small Railway on one machine: real PostgreSQL, real Redis, real workers, a faithful fake of the API."""
