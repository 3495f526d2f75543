"""Rows of Parquet and Arrow files as records; pyarrow reads them, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import Block
from coordexp_audit_lib.boundaries.geometry.artifact.files import Source
from coordexp_audit_lib.core.errors import UsageError

ROWS = 256


def rows_of(source: Source) -> Iterator[Block]:
    """Each row as the JSON object that it stands for.

    A column of a table is there for every row: what is null is taken for a key that the record has not. Bytes, such as
    of an image, are told by their number.

    Raises:
        UsageError: pyarrow is not installed, or the table is packed once more.
    """
    if source.packed:
        what = f"is a {source.table} file packed with {source.packed}"
        raise UsageError(what, where=source.name, remedy="unpack it: such a file is packed within")
    try:
        import pyarrow as pa
    except ImportError as error:
        remedy = "install coordexp-audit[data], or write the file as JSON lines"
        raise UsageError(
            f"is {source.table}, and pyarrow is not installed", where=source.name, remedy=remedy
        ) from error
    number = 0
    try:
        for batch in _batches(source):
            for row in batch.to_pylist():
                number += 1
                yield Block(number, 0, msgspec.json.encode(plain(row), enc_hook=str))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Block(number + 1, 0, b"", f"the table is cut short or damaged: {str(error).splitlines()[0]}")


def _batches(source: Source) -> Iterator[Any]:
    import pyarrow as pa

    if source.table == "parquet":
        import pyarrow.parquet as pq

        yield from pq.ParquetFile(source.raw).iter_batches(batch_size=ROWS)
        return
    if source.head.startswith(b"ARROW1"):
        reader = pa.ipc.open_file(source.raw)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        batches = iter(pa.ipc.open_stream(source.raw))
    for batch in batches:
        yield from (batch.slice(at, ROWS) for at in range(0, batch.num_rows, ROWS))


def plain(value: Any) -> Any:
    """A value as JSON can hold it, without keys that are null."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else value
