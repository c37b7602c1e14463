"""Text from outside and text for outside: cut to a bound, masked, escaped.

Pure, and used by every room: whatever is printed, logged, published or served goes through it.
Limits on sizes (bounds) are here too, so that each has one place.
"""
