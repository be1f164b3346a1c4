"""One exception class a cause; each says what was asked, what was found, and what to do."""


class DeephysError(Exception):
    """Whatever this package refuses; catch it to catch them all."""


class StoreNotFoundError(DeephysError):
    """There is no file, or no folder, at the path."""


class NotAStoreError(DeephysError):
    """The file is not a store."""


class StoreLockedError(DeephysError):
    """Another process writes the store, or has it open in a way that excludes this one."""


class StoreChangedError(DeephysError):
    """Another program replaced or wrote the store's file while a new version of it was made."""


class StoreVersionError(DeephysError):
    """The store's schema is older or newer than this package, or was made by an altered migration."""


class StoreDamagedError(DeephysError):
    """What is stored contradicts itself."""


class StoreFullError(DeephysError):
    """The disk, or a limit on the file's size, left no room to write."""


class ReadOnlyError(DeephysError):
    """Something that writes was asked of a store opened read-only, or of one whose file or folder can't be written."""


class InvalidInputError(DeephysError):
    """An argument's shape, type or value can't be right."""


class FileFormatError(InvalidInputError):
    """A file is not there, is damaged, or is not of the format that it should have; the place in it is named."""


class NotFiniteError(InvalidInputError):
    """An activation or output is NaN or infinite."""


class UnknownNameError(DeephysError):
    """No model, dataset, layer, query or parameter has this name; the nearest names are given."""


class RecordingExistsError(DeephysError):
    """This model was recorded on this dataset already."""


class RecordingInProgressError(DeephysError):
    """The store is in the middle of another recording."""


class CategoriesDifferError(DeephysError):
    """The model or the dataset is stored with another list of categories."""


class DatasetDiffersError(DeephysError):
    """The dataset is stored with other images: their count, labels, pixels or metadata differ."""


class ModelDiffersError(DeephysError):
    """The model is stored with other weights, or its layer with another shape."""


class QueryError(DeephysError):
    """SQL that DuckDB refused, or a parameter of the wrong type."""


class AnnotationError(DeephysError):
    """The file of annotations beside a store can't be read or written."""


class SourceError(DeephysError):
    """A database or file that runs are imported from is not there, or can't be read."""


class MissingExtraError(DeephysError, ImportError):
    """An optional package is needed; the message names the extra to install."""


class PortTakenError(DeephysError):
    """Something listens already on the port where a site is to be served."""
