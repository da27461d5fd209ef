"""Every way in which a ``.thin`` file can be wrong, one class each.

A message says what was found, where (byte offset or tensor name) and what would be right.
"""


class ThinferError(Exception):
    """Base of every error that a user's input can cause; its text is one sentence meant for people."""


class GraphError(ThinferError, ValueError):
    """A graph is structurally inconsistent; the message lists every problem found."""


class FileAccessError(ThinferError, OSError):
    """A file cannot be opened, read or written; the message names it and gives the system's reason."""


class MemoryLimitError(ThinferError, MemoryError):
    """A weight cannot be decoded here, since it would take more memory than the machine has."""


class FormatError(ThinferError, ValueError):
    """A file is not a well-formed ``.thin`` file. Each failure that SPEC.md names has its own subclass."""


class MagicError(FormatError):
    """The file does not begin with ``THIN``."""


class VersionError(FormatError):
    """The file's version is not one that this reader knows."""


class HeaderChecksumError(FormatError):
    """The CRC-32 of magic, version and header is not the stored one."""


class BlobChecksumError(FormatError):
    """The CRC-32 of a weight's blob is not the stored one."""


class TruncatedError(FormatError):
    """Something ends before what it must hold is complete: the file, the header or a blob."""


class TrailingDataError(FormatError):
    """Bytes are left over after the last field of the header, after the last stream of a blob, or after the last blob."""


class PaddingError(FormatError):
    """A bit or byte that only fills up is not zero."""


class VarintError(FormatError):
    """A variable-length integer is longer than needed or does not fit 64 bits."""


class LimitError(FormatError):
    """A number is outside the bounds that SPEC.md sets: header length, rank, count, nesting depth."""


class StringError(FormatError):
    """A string is not UTF-8, refers to an entry that does not exist, shares more than there is, or is empty where it must not be."""


class NameClashError(FormatError):
    """A name stands for two things, or an attribute is given twice."""


class CodeError(FormatError):
    """A code has no meaning: of a dtype, an attribute type, an encoding, a transform; or a reserved bit is set."""


class ReferenceRangeError(FormatError):
    """A node or an output refers to a value or weight that is not there."""


class BooleanError(FormatError):
    """A stored boolean is neither 0 nor 1."""


class ShapeError(FormatError):
    """A shape has more elements than its data can stand for."""


class CodebookError(FormatError):
    """A codebook's width, number of entries or number of groups is out of range."""


class IndexRangeError(FormatError):
    """An index is not below the number of codebook entries, or a symbol is outside its alphabet."""


class TransformError(FormatError):
    """A stream's transform is not allowed there, or its parameters are out of range."""


class CodeLengthsError(FormatError):
    """The code lengths of a Huffman code do not describe a complete prefix code."""


class FrequencyError(FormatError):
    """A table of rANS frequencies is none: a level out of range, a symbol whose frequency comes out as 0, or no symbol at all."""


class StreamLengthError(FormatError):
    """A stream's coded symbols stand for more or fewer elements than the tensor holds, or its bits for more or fewer symbols."""


class InconsistentGraphError(FormatError):
    """The parts are readable, but make no sound graph (see ``formats.graph.verify``)."""
