"""Every error that a user can meet. The message says what, where, and what to do about it."""


class HarnessError(Exception):
    """Something the harness cannot go on from; always one line."""


class UserError(HarnessError):
    """Wrong usage or bad input: the command line ends with exit code 2."""


class StreamError(HarnessError):
    """A bitstream that cannot be decoded: damaged, truncated, or of another specification."""


class PlatformUnavailable(HarnessError):
    """A platform that cannot run on this machine, with what would make it run."""

    def __init__(self, platform: str, reason: str, remedy: str) -> None:
        super().__init__(f"platform {platform!r} is unavailable: {reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


class FellBack(HarnessError):
    """A platform ran, but not where it was asked to."""


class Unsupported(HarnessError):
    """A graph that a platform has no way to execute, by its nature."""


class PlatformCrashed(HarnessError):
    """The platform's process died or failed inside its runtime."""


class PlatformTimedOut(HarnessError):
    """The platform's process did not answer in time and was killed."""
