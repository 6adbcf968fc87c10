"""Fetches one source distribution through pip and unpacks it once.

`csrc/third_party.cmake` runs this at configure time. pip supplies the index, the
proxy and the certificates of whoever builds, so no address stands here; the
SHA-256 given on the command line decides what is accepted, whoever served it.

The result lies in `<cache>/<name>-<version>-<hash>/`, shared by all build folders,
and its path is printed. A second run finds it and touches no network. Parallel
runs are safe: each unpacks into a folder of its own and renames it into place.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """`$ARGOSY_CACHE`, else the user's cache folder."""
    given = os.environ.get("ARGOSY_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "argosy"


def download_with_finder(name: str, version: str, folder: Path) -> None:
    """Asks pip's own finder for the archive, and for nothing else.

    `pip download` would also run the package's build to learn its metadata, which
    takes a minute and needs that package's build requirements.
    """
    from pip._internal.commands import create_command
    from pip._internal.network.download import Downloader

    command = create_command("download")
    with command.main_context():
        options, _ = command.parse_args(["--no-deps", "--no-binary", ":all:", f"{name}=={version}"])
        session = command.get_default_session(options)
        finder = command._build_package_finder(options=options, session=session)
        for candidate in finder.find_all_candidates(name):
            if str(candidate.version) == version and not candidate.link.is_wheel:
                if candidate.link.is_file:
                    shutil.copy(candidate.link.file_path, folder)
                else:
                    Downloader(session, "off")(candidate.link, str(folder))
                return
    raise FileNotFoundError(f"the package index offers no source distribution of {name}=={version}")


def download_with_pip(name: str, version: str, folder: Path) -> None:
    """The documented way, for a pip whose inner parts have moved."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"),
            *("--dest", str(folder), f"{name}=={version}"),
        ],
        check=True,
        stdout=sys.stderr,
    )


def verified_archive(name: str, version: str, sha256: str, cache: Path) -> Path:
    """Returns the archive, from the cache or the index. Raises OSError, ValueError or CalledProcessError."""
    kept = cache / f"{name}-{version}-{sha256[:12]}.tar.gz"
    if kept.is_file():
        return kept
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch)
        try:
            download_with_finder(name, version, folder)
        except (ImportError, AttributeError, TypeError) as moved:
            print(f"pip's finder cannot be used ({moved}); running pip download", file=sys.stderr)
            download_with_pip(name, version, folder)
        archives = list(folder.iterdir())
        if len(archives) != 1:
            raise ValueError(f"{name}=={version}: expected one archive, got {[a.name for a in archives]}")
        digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
        if digest != sha256:
            raise ValueError(f"{archives[0].name}: SHA-256 is {digest}, expected {sha256}")
        archives[0].replace(kept)
    return kept


def unpack(archive: Path, only: list[str], folder: Path) -> None:
    """Unpacks the members below `only` (all when empty), without their leading folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            wanted = not only or any(path == o or path.startswith(o + "/") for o in only)
            if not wanted or not member.isfile() or ".." in path.split("/"):
                continue
            content = tar.extractfile(member)
            assert content is not None
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("sha256")
    parser.add_argument("--only", nargs="*", default=[], help="folders and files of the archive to unpack")
    given = parser.parse_args()

    chosen = hashlib.sha256("\n".join([given.sha256, *given.only]).encode()).hexdigest()[:12]
    cache = cache_folder()
    final = cache / f"{given.name}-{given.version}-{chosen}"
    if not final.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            archive = verified_archive(given.name, given.version, given.sha256, cache)
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                tree = Path(scratch, "tree")
                unpack(archive, given.only, tree)
                try:
                    tree.rename(final)
                except OSError:
                    if not final.is_dir():  # otherwise another configure was first
                        raise
        except Exception as problem:  # the one place that turns any failure into a sentence for CMake
            print(f"{given.name}=={given.version}: {problem}", file=sys.stderr)
            return 1
    print(final)
    return 0


if __name__ == "__main__":
    sys.exit(main())
