"""`aws s3 sync FOLDER s3://BUCKET/PREFIX` for the README's test, where the AWS CLI is not installed."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3  # type: ignore[import-not-found]  # of the server's environment, which runs this


def main(folder: Path, uri: str) -> None:
    """Upload every file below the folder; region, endpoint and credentials come from the environment."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    files = [path for path in folder.rglob("*") if path.is_file()]

    def put(path: Path) -> None:
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder).as_posix()}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, files))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
