"""The package's errors. Each message is one line: what is wrong, and what to do about it."""

MIN_USEFUL = 100  # bytes of a file, under which scaling down cannot help either


class CotamError(Exception):
    """Base of every error that cotam raises on purpose; catch this one to catch them all."""


class FormatError(CotamError):
    """Bytes that are not a valid .ctm file, or a request to write one that no reader would accept."""


class ImageError(CotamError):
    """A picture that cannot be read, or of a kind that is not supported."""


class ModelError(CotamError):
    """Model files that are missing or damaged, or a model id that this release does not know."""


class GuideError(CotamError):
    """A source of the importance map that cannot be used."""


class BudgetError(CotamError):
    """A number of bytes that no quality reaches. `smallest` is the size in bytes of the smallest possible file."""

    def __init__(self, size: tuple[int, int], max_bytes: int, smallest: int) -> None:
        width, height = size
        self.smallest, self._made_of = smallest, (size, max_bytes, smallest)
        advice = f"allow {smallest}"
        if max_bytes >= MIN_USEFUL:
            side = int(0.95 * max(size) * ((max_bytes - 33) / (smallest - 33)) ** 0.5)
            advice += f" or scale it down, --max-side {max(side, 1)}"
        super().__init__(
            f"{width}x{height} does not fit into {max_bytes} bytes: the smallest possible file has {smallest} "
            f"({4 * -(-smallest // 3)} as base64); {advice}"
        )

    def __reduce__(self) -> tuple[type["BudgetError"], tuple[tuple[int, int], int, int]]:
        return BudgetError, self._made_of
