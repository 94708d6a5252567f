"""The package's errors. Each message is one line: what is wrong, and what to do about it."""


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
