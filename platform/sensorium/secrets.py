"""What is secret, by its name or its form: files that stay here, and values that are written down nowhere."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from sensorium.errors import UserError
from sensorium.redaction import HIDDEN, reveals

FOLDERS = frozenset({".ssh", ".aws", ".azure", ".gnupg", ".kube", ".docker", ".gcloud", "gcloud", ".password-store"})
"""Names of folders that hold credentials."""
FILES = (
    *(".netrc", "_netrc", ".git-credentials", ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd", ".dockercfg"),
    *(".env", ".env.*", "*.env", ".envrc", ".boto", ".s3cfg", ".databrickscfg", "rclone.conf", "kaggle.json"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg"),
    *("*service*account*.json", "*credentials*.json", "client_secret*.json", "credentials", "credentials.*"),
    *("token", "tokens", ".token", "token.*", "tokens.txt", "*.token", "*_token", "*-token"),
    *("secret", "secrets", "secret.*", "secrets.*"),
)
"""Patterns of names of files that hold credentials; source code may have any name."""
CODE = (".py", ".pyi", ".md", ".rst")
HEAD = 4096
"""Bytes of a file in which the form of a key is looked for."""
_NAMES = ("KEY", "TOKEN", "SECRET", "PASS", "PWD", "CREDENTIAL", "USER", "AUTH")


def is_secret_file(path: Path) -> bool:
    """Says whether the content of a file looks like a key."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    begins_as_key = head.startswith(b"-----BEGIN ") and b"PRIVATE KEY" in head
    return begins_as_key or (path.suffix == ".json" and b'"private_key"' in head)


def is_secret_path(path: PurePath) -> bool:
    """Says whether a file holds credentials, by its name and those of its folders."""
    *folders, name = (part.lower() for part in path.parts)
    if FOLDERS & set(folders):
        return True
    return not name.endswith(CODE) and any(fnmatchcase(name, pattern) for pattern in FILES)


def is_secret_variable(name: str, value: str) -> bool:
    """Says whether an environment variable is secret, by its name or because of what its value reveals."""
    return any(word in name.upper() for word in _NAMES) or reveals(value)


def check_address(uri: str, what: str) -> None:
    """Refuses an address that would take a password into a job's record and log; does not repeat it.

    Args:
        uri: The address.
        what: Begins the sentence, such as "The address of the MLflow store".

    Raises:
        UserError: It holds a password.
    """
    if HIDDEN in uri or reveals(uri):
        raise UserError(
            f"{what} holds a password, which would be written down with the job.",
            "A cluster's nodes hold it: a server's in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD,"
            " a database's in a file of its own such as ~/.pgpass.",
            "Take it out of the address; commands that run here take the whole of it.",
        )
