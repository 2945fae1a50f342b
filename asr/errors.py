"""Errors a user can act on: each message says what is wrong, where, and what to do."""


class RillError(ValueError):
    """Base of every error that a user, a file or a setting can cause; commands print its message and nothing else."""


class ConfigError(RillError):
    """A setting has no meaning, or contradicts another."""


class DataError(RillError):
    """A manifest, list, transcript or corpus is not what it should be."""


class AudioError(RillError):
    """A recording cannot be read, or holds samples that are no audio."""


class TokenizerError(RillError):
    """A text or a vocabulary does not fit the tokenizer."""


class CheckpointError(RillError):
    """A checkpoint is missing, damaged, or of another model."""


class StreamError(RillError):
    """A live stream is fed what it cannot take, or asked for what it does not have."""


class ExportError(RillError):
    """A model cannot be exported, or its export disagrees with the library."""
