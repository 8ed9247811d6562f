"""What hunch raises. The message is the engine's: it names the thing, what was expected and what was found.

Each class is also the built-in one that fits, so that `except FileNotFoundError` and `except ValueError` work.
"""


class Error(Exception):
    """All of them. `kind` is the name of the kind as in JSON errors of `hunch serve`."""

    kind = "error"


class UsageError(Error, ValueError):
    """An argument that cannot be meant."""

    kind = "usage"


class FormatError(Error, ValueError):
    """A file's bytes are not what its format demands."""

    kind = "format"


class UnsupportedError(Error, NotImplementedError):
    """Well-formed, and nothing that hunch can do."""

    kind = "unsupported"


class NotFoundError(Error, FileNotFoundError):
    """A file, tensor or key is missing."""

    kind = "not_found"


class IoError(Error, OSError):
    """The operating system refused: read, write, disk full."""

    kind = "io"


class NetworkError(Error, ConnectionError):
    """The hub did not answer, or not as it should."""

    kind = "network"


class OutOfMemoryError(Error, MemoryError):
    """Not enough memory for what was asked."""

    kind = "memory"


class LimitError(Error, ValueError):
    """A request over a limit: more tokens than the context holds."""

    kind = "limit"


class InterruptedCallError(Error, InterruptedError):
    """The call was asked to end."""

    kind = "interrupted"
