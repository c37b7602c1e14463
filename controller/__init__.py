"""worker-autoscaler: keeps the right number of Railway worker replicas running for a PostgreSQL job queue."""
