"""Named errors: each message says what was found, where, and what to do."""

from __future__ import annotations

from tsad.core.masking import mask_urls


class TsadError(Exception):
    """Base of every error that a user can cause and mend.

    The command line prints the message alone and exits with 1; ``-v`` adds the traceback. No message shows the login of
    a URL.

    Args:
        found: what was found, and where.
        remedy: what to do about it.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        self.found, self.remedy = mask_urls(found), mask_urls(remedy)
        super().__init__(f"{self.found.rstrip('.')}. {self.remedy}" if remedy else self.found)


class ConfigError(TsadError):
    """An unknown key, a wrong type or an impossible combination in the configuration."""


class UnknownNameError(ConfigError):
    """A name that nothing has."""


class SourceError(TsadError):
    """A source that cannot be read: missing folder, binary file, unreachable server."""


class SourceUnavailableError(SourceError):
    """A source that cannot be reached now: server down, connection lost, folder not mounted. The cache may answer."""


class AccessError(SourceError):
    """A source that was reached and refused: wrong user or password, rights missing."""


class TooManyRowsError(SourceError):
    """A range that holds more rows than one read may bring."""


class OfflineError(SourceError):
    """Series that the cache does not hold while it alone may answer, or that it may not answer for."""


class SeriesError(TsadError):
    """A series that cannot be made valid: no rows, text values, mixed time zones."""


class NoRowsError(SeriesError):
    """A series of a database without any value in the range asked for."""


class UnknownPointError(SourceError):
    """A point that the source does not have."""


class CacheError(TsadError):
    """A cache entry that cannot be read or written."""


class FileNameError(TsadError):
    """A file name that does not follow ``{point_id}_{start}_{end}_{algorithm}``."""


class LabelError(TsadError):
    """Labels that are missing where they are needed, or that do not fit their series."""


class DetectorError(TsadError):
    """A detector that cannot score what it was given."""


class WeightsError(DetectorError):
    """Base weights or an adapter that are missing, corrupted or do not fit each other."""


class EngineError(DetectorError):
    """A server with a language model that cannot be reached, does not have the model, or answers what is no answer."""


class EmbeddingError(TsadError):
    """Embeddings that do not fit each other, or a detector whose base model gives none."""


class TrainingError(TsadError):
    """A training run that cannot start or cannot go on."""


class DatasetError(TsadError):
    """A dataset version that is missing, damaged or empty."""


class InUseError(TsadError):
    """Something that cannot be deleted because others use it."""


class TrackingError(TsadError):
    """The MLflow store: unreachable, too old, damaged."""


class ForeignPathError(TrackingError):
    """An address of artifacts that leads out of the embedded store."""


class RegistryError(TrackingError):
    """A model version or alias that does not exist or cannot be moved."""


class UnknownVersionError(RegistryError):
    """A version or alias that a loop's model does not have."""


class ClaimError(TrackingError):
    """Another process works on the same loop or step."""


class LoopError(TsadError):
    """An iteration that cannot be created, resumed or continued as asked."""


class UnknownLoopError(LoopError):
    """A loop that the store does not have."""


class UnexplainedError(TsadError):
    """An explanation that a version cannot give."""


class TimeUpError(TsadError):
    """Work that was not begun, or not gone on with, because nobody waits for it any more."""


class ReviewError(TsadError):
    """The review system: unreachable, token refused, project gone, template changed."""


class NoQueueError(ReviewError):
    """Where people review, there is no project of that name: deleted, renamed, or nothing was pushed yet."""


class MissingPackageError(TsadError):
    """An optional package that this verb needs is not installed."""


class UploadError(TsadError):
    """A file that somebody hands in and that cannot be taken: cut, damaged, a path for a name, not of that type."""


class UploadTooLargeError(UploadError):
    """A file that is larger than uploads may be, as it is or unpacked."""


class StorageError(TsadError):
    """A file that cannot be written: disk full, read-only folder."""


class JobError(TsadError):
    """A job that is not in the state for what is asked of it."""


class UnknownJobError(JobError):
    """There is no job of that id."""


class JobRefusedError(ConfigError):
    """What a job may not be asked: a verb that serves or waits, a secret, a class, a file outside the roots."""


class TooManyJobsError(JobError):
    """So many jobs wait that no more are taken."""


class QueueError(TsadError):
    """The queue of jobs cannot be reached."""
