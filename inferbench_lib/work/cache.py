"""Files that cost time to make, kept under a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Return the folder of models and data: `$INFERBENCH_CACHE`, else `.cache/inferbench` in the project."""
    default = Path(__file__).parents[2] / ".cache" / "inferbench"
    return Path(os.environ.get("INFERBENCH_CACHE", default))


def cached(name: str, suffix: str, key: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """Return the file `name-<hash of key><suffix>`, made by `make(path)` where it is missing, whole or not at all."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder() / f"{name}-{digest}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=suffix)
        os.close(handle)
        try:
            make(Path(temporary))
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path
