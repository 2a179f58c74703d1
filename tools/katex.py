"""KaTeX beside the pages, so that mathematics is set without a network: taken once from its npm package, and checked."""
from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "0.16.22"
INTEGRITY = "XCHRdUw4lf3SKBaJe4EvgqIuWwkPSo9XoeO8GjQW94Bp7TWv9hNhzZjZ+OH9yf1UmLygb7DIT5GSFQiyt16zYg=="  # sha512, as npm names it
REGISTRY = os.environ.get("npm_config_registry", "https://registry.npmjs.org")
WANTED = re.compile(r"package/(?:dist/)?(LICENSE|katex\.min\.(?:js|css)|contrib/auto-render\.min\.js|fonts/.*\.woff2)$")
OLDER_FONTS = re.compile(r",url\(fonts/[^)]*\.(?:woff|ttf)\) format\([^)]*\)")  # for browsers without woff2


def package() -> Path:
    "The npm package as an archive, downloaded into the environment when it is not there."
    kept = Path(sys.prefix) / "share" / f"katex-{VERSION}.tgz"
    if not kept.is_file():
        address = f"{REGISTRY.rstrip('/')}/katex/-/katex-{VERSION}.tgz"
        with urllib.request.urlopen(address, timeout=180) as answer:
            data = answer.read()
        found = base64.b64encode(hashlib.sha512(data).digest()).decode()
        if found != INTEGRITY:
            raise ValueError(f"{address} has the checksum {found}, expected {INTEGRITY}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(kept)
    return kept


def copy_to(folder: Path) -> None:
    "Write what a page needs: scripts, styles, fonts and the licence."
    with tarfile.open(package()) as archive:
        for member in archive.getmembers():
            if name := WANTED.fullmatch(member.name):
                target = folder / name[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
    styles = folder / "katex.min.css"
    styles.write_text(OLDER_FONTS.sub("", styles.read_text(encoding="utf-8")), encoding="utf-8")
