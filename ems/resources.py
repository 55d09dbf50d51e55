"""Files that travel with the software: config/ and migrations/, in a checkout or inside an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(name: str) -> Path:
    """The path of a shipped file or folder named from the root of the tree, as `config/sites/demo-2mw.yaml` or `migrations`.

    An installed wheel keeps them in `ems/_bundled/`, a checkout beside `ems/`. The path is returned whether or not it exists.
    """
    installed = _PACKAGE / "_bundled"
    return (installed if installed.is_dir() else _PACKAGE.parent) / name


def is_bare(name: str) -> bool:
    """True for a name such as `generic-cooling`, False for a path such as `../devices/mine.yaml`."""
    return "/" not in name and "\\" not in name and not name.endswith((".yaml", ".yml"))


def resolve(kind: str, name: str, beside: Path) -> Path:
    """The file that the file `beside` means by `name`, where `kind` is `devices`, `tariffs`, `sites`, `scenarios` or `programs`.

    A path is relative to `beside`; one of the form `../<kind>/name.yaml` also means the shipped file when it leads nowhere, so that a copy
    of a shipped file runs anywhere. A bare name is searched in `config/<kind>/` of every folder above `beside`, nearest first, then in the
    installed package. Raises FileNotFoundError naming every place searched.
    """
    searched = candidates(kind, name, beside)
    for path in searched:
        if is_file(path):
            return path
    raise FileNotFoundError("no such file: " + ", ".join(str(path) for path in searched))


def known_names(kind: str, beside: Path) -> list[str]:
    """The bare names that `resolve` finds."""
    folders = [folder / "config" / kind for folder in beside.resolve().parents] + [bundled(f"config/{kind}")]
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def candidates(kind: str, name: str, beside: Path) -> list[Path]:
    """Where `resolve` looks, in order."""
    if not is_bare(name):
        path = Path(name)
        is_of_kind = not path.is_absolute() and path.parent.name == kind
        return [(beside.parent / path).resolve(), *([bundled(f"config/{kind}/{path.name}")] if is_of_kind else [])]
    inside = Path("config") / kind / f"{name}.yaml"
    places = [folder / inside for folder in beside.resolve().parents]
    return list(dict.fromkeys([path for path in places if is_file(path)] + [bundled(str(inside))]))


def is_file(path: Path) -> bool:
    """True for a file; False also for a name no file system takes (too long, not permitted)."""
    try:
        return path.is_file()
    except OSError:
        return False
