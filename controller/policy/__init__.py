"""policy.yaml: read, checked, and made into frozen models, or refused with place, line and fix."""
