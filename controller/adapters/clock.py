"""The operating system's clock."""

import time


class SystemClock:
    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        # CLOCK_BOOTTIME also counts while the machine is suspended. CLOCK_MONOTONIC does not: a leader that was
        # suspended would wake up and believe that its lease is still valid. Only Linux has CLOCK_BOOTTIME.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
