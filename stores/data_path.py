"""A lake's data path as a file system: a folder, or an object store."""

import hashlib
import os
from urllib.parse import urlsplit

import pyarrow.fs

from schemas.errors import FactoryError

_CHUNK = 1 << 20


def file_system(data_path: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system, and the path in it, which ends with a slash. Keys come from the environment, as in `stores/attach.py`.

    Raises:
        FactoryError: an object store that is not S3, or its keys are not set.
    """
    if "://" not in data_path:
        return pyarrow.fs.LocalFileSystem(), data_path
    url = urlsplit(data_path)
    if url.scheme != "s3":
        raise FactoryError(f"{data_path} is no folder and no s3:// address: files are copied between these alone")
    try:
        keys = {"access_key": os.environ["AWS_ACCESS_KEY_ID"], "secret_key": os.environ["AWS_SECRET_ACCESS_KEY"]}
    except KeyError as error:
        raise FactoryError(f"{error.args[0]} is not set, and {data_path} needs it: export it") from error
    where = {"region": os.environ.get("AWS_REGION", "us-east-1")}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        server = urlsplit(endpoint)
        where |= {"endpoint_override": server.netloc, "scheme": server.scheme}
    return pyarrow.fs.S3FileSystem(**keys, **where), f"{url.netloc}{url.path}"


def copy_file(
    source: tuple[pyarrow.fs.FileSystem, str], target: tuple[pyarrow.fs.FileSystem, str], path: str
) -> tuple[int, str]:
    """Copies a file below one data path to the same place below another; returns its bytes and SHA-256.

    Raises:
        OSError: it cannot be read or written.
        FactoryError: another file of this name is there.
    """
    digest, size = hashlib.sha256(), 0
    (from_system, from_folder), (to_system, to_folder) = source, target
    there = to_system.get_file_info(to_folder + path)
    if there.type != pyarrow.fs.FileType.NotFound and there.size != from_system.get_file_info(from_folder + path).size:
        raise FactoryError(f"{path} is at the target already and is another file: give an empty data path")
    to_system.create_dir(f"{to_folder}{path}".rpartition("/")[0], recursive=True)
    with (
        from_system.open_input_stream(from_folder + path) as opened,
        to_system.open_output_stream(to_folder + path) as made,
    ):
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            made.write(chunk)
    return size, digest.hexdigest()
