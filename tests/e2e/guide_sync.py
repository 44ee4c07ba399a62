"""`aws s3 sync FROM TO` for the guide's test, where the AWS CLI is not installed; one of both is s3://BUCKET/PREFIX."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3  # type: ignore[import-not-found]  # of the server's environment, which runs this

S3 = "s3://"


def upload(folder: Path, uri: str) -> None:
    """Upload every file below the folder; region, endpoint and credentials come from the environment."""
    bucket, _, prefix = uri.removeprefix(S3).partition("/")
    client = boto3.client("s3")
    files = [path for path in folder.rglob("*") if path.is_file()]

    def put(path: Path) -> None:
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder).as_posix()}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, files))


def download(uri: str, folder: Path) -> None:
    """Write every object below the URI into the folder."""
    bucket, _, prefix = uri.removeprefix(S3).partition("/")
    client = boto3.client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for item in page.get("Contents", ()):
            target = folder / item["Key"].removeprefix(f"{prefix}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, item["Key"], str(target))


def main(source: str, target: str) -> None:
    """Upload or download, as the arguments ask."""
    if source.startswith(S3):
        download(source, Path(target))
    else:
        upload(Path(source), target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
