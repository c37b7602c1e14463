"""What the environment says, and the policy that it names: addresses, tokens, timing."""
