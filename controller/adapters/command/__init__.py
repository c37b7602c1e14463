"""Anything else: programs, or an address, that read and set the count of one target each.

What they are told and what they answer is the same over both ways (told, answer); programs and http carry it. Both ends
are somebody else's code: time, bytes and numbers are limited, and what cannot be understood is Unavailable, never 0.
"""

from controller.core.ports import Role, Source

SOURCE = Source(Role.PLATFORM, "Command")
