"""Credentials for Kubernetes clients: bearer tokens, and kubeconfig files that carry them."""

import base64
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """One identity known to the API server by its token."""

    name: str
    groups: tuple[str, ...]
    token: str


def new_user(name: str, *groups: str) -> User:
    """Return an identity with a fresh random token."""
    return User(name=name, groups=groups, token=secrets.token_hex(24))


def token_file(users: Iterable[User]) -> str:
    """Return the text of kube-apiserver's static token file (CSV: token, user, uid, quoted groups)."""
    return "".join(f'{user.token},{user.name},{user.name},"{",".join(user.groups)}"\n' for user in users)


def kubeconfig(url: str, authority: bytes, user: User, context: str) -> str:
    """Return a kubeconfig with one cluster, user and context; JSON, which every YAML reader takes."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {
                    "server": url,
                    "certificate-authority-data": base64.b64encode(authority).decode(),
                },
            }
        ],
        "users": [{"name": user.name, "user": {"token": user.token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user.name}}],
        "current-context": context,
    }
    return json.dumps(document, indent=2) + "\n"
