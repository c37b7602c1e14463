"""Text from outside and to the outside: bounded, masked, escaped. Pure."""
