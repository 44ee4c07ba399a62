"""Writes a one-layer OCI image archive: no container engine needed, the same bytes for the same input."""

import hashlib
import io
import json
import platform
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"

#: Raised when the same input gives another archive: kept ones have it in their names.
FORMAT = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What containers of the image run by default."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    user: str = ""


def architecture() -> str:
    """Return this machine's architecture in OCI's words."""
    return _MACHINES.get(platform.machine(), platform.machine())


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def write_archive(target: Path, name: str, layer: Path, settings: Settings) -> None:
    """Write an OCI archive of one uncompressed layer (a tar file) to `target`; `name` is the full image name."""
    layer_digest = _digest_of(layer)
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": list(settings.entrypoint),
            "Cmd": list(settings.command),
            "Env": list(settings.environment),
            "User": settings.user,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        # One entry for each layer: buildah counts them where it puts layers on top.
        "history": [{"created_by": "local-cluster"}],
    }
    blobs: dict[str, bytes] = {}

    def descriptor(media_type: str, document: object) -> dict[str, object]:
        content = json.dumps(document, sort_keys=True).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": descriptor(_CONFIG, config),
        "layers": [{"mediaType": _LAYER, "digest": layer_digest, "size": layer.stat().st_size}],
    }
    # containerd reads the first annotation, buildah and skopeo the second.
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    entry = descriptor(_MANIFEST, manifest) | {"annotations": annotations}
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}
    draft = target.with_name(f".{target.name}.draft")
    with tarfile.open(draft, "w") as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(archive, "index.json", json.dumps(index).encode())
        for digest, content in blobs.items():
            _add(archive, _blob_path(digest), content)
        member = tarfile.TarInfo(_blob_path(layer_digest))
        member.size = layer.stat().st_size
        with layer.open("rb") as content_file:
            archive.addfile(member, content_file)
    shutil.move(draft, target)


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
