"""The operating system's clock."""

import time


class SystemClock:
    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        # CLOCK_BOOTTIME goes on while the machine is suspended; CLOCK_MONOTONIC does not, so that a leader that was
        # put to sleep would wake up and think that it still leads. Elsewhere than on Linux there is only the latter.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
