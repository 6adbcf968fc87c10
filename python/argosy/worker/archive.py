"""Unpacking an archived environment: nothing of it can land, or be written through, outside of its place."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

from argosy.errors import InvalidArgument

_PERMISSIONS = 0o755


def unpack(archive: Path, into: Path) -> None:
    """A tar archive, however compressed, whose root has `bin/python`; `into` becomes that root.

    Raises InvalidArgument for what is no archive, has no interpreter, or would leave its place.
    """
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            root = _root(members)
            _check(members)
            links = [member for member in members if member.issym()]
            for member in members:
                name = _inside(member.name, root)
                if name is None or member.issym():
                    continue
                _extract(tar, member, into / name, into, root)
            # Last: no file is written through them. They may point outside, as an environment's do.
            for member in links:
                name = _inside(member.name, root)
                if name is None:
                    continue
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to(member.linkname)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidArgument(f"it cannot be unpacked: {error}") from None


def _root(members: list[tarfile.TarInfo]) -> PurePosixPath:
    for member in members:
        path = PurePosixPath(member.name)
        if path.parts[-2:] == ("bin", "python") and len(path.parts) <= 3:
            return path.parent.parent
    raise InvalidArgument("it has no bin/python: expected an archive of an environment (conda-pack, venv-pack)")


def _check(members: list[tarfile.TarInfo]) -> None:
    links = {PurePosixPath(member.name) for member in members if member.issym()}
    for member in members:
        path = PurePosixPath(member.name)
        names = [path, PurePosixPath(member.linkname)] if member.islnk() else [path]
        for name in names:
            if name.is_absolute() or ".." in name.parts:
                raise InvalidArgument(f"'{member.name}' lies outside of the archive")
        if any(parent in links for parent in path.parents):
            raise InvalidArgument(f"'{member.name}' would be written through a link")
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            raise InvalidArgument(f"'{member.name}' is neither file, directory nor link")


def _inside(name: str, root: PurePosixPath) -> PurePosixPath | None:
    try:
        return PurePosixPath(name).relative_to(root)
    except ValueError:
        return None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, into: Path, root: PurePosixPath) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.islnk():
        source = _inside(member.linkname, root)
        if source is None or (into / source).is_symlink() or not (into / source).is_file():
            raise InvalidArgument(f"'{member.name}' is a link to '{member.linkname}', which is not in the archive")
        target.hardlink_to(into / source)
        return
    content = tar.extractfile(member)
    assert content is not None
    with content, target.open("wb") as out:
        while block := content.read(1 << 20):
            out.write(block)
    target.chmod(member.mode & _PERMISSIONS | 0o600)
