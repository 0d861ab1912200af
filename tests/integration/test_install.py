"""`meson install`: what a package takes, and where it expects it."""

import re

import pytest
from conftest import BUILD, run


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """As a packager does it, with a careless umask."""
    root = tmp_path_factory.mktemp("root")
    run("bash", "-c", 'umask 0; exec "$@"', "bash", "meson", "install", "-C", BUILD,
        "--no-rebuild", "--destdir", root, cwd=root)  # fmt: skip
    return root


def one(root, pattern):
    found = list(root.rglob(pattern))
    assert len(found) == 1, (pattern, found)
    return found[0]


def test_the_command_its_manual_and_its_completion_are_installed(installed):
    command = one(installed, "bin/sealwright")
    tags = run("readelf", "-d", command).out
    (beside,) = re.findall(r"\(RUNPATH\).*\[(.*)\]", tags)
    library = one(installed, "p11guard.so")
    assert str(library.parent) == f"{installed}{beside}", "found once it is in its place"
    done = run(command, "--version", env={"LD_LIBRARY_PATH": str(library.parent)})
    assert done.out == run(BUILD / "sealwright", "--version").out
    assert one(installed, "man1/sealwright.1*").stat().st_size > 1000
    assert one(installed, "bash-completion/completions/sealwright")
    assert one(installed, "sealwright.service")


def test_the_plugins_are_where_the_command_looks(installed):
    built = {path.name for path in BUILD.glob("plugins/*/sealwright_*.so")}
    plugins = {path.name: path for path in installed.rglob("sealwright/plugins/*.so")}
    assert "sealwright_scep.so" in plugins
    assert built - set(plugins) <= {"sealwright_skeleton.so"} and set(plugins) <= built
    folder = next(iter(plugins.values())).parent
    where = str(folder).removeprefix(str(installed)).encode()
    assert where in (BUILD / "sealwright").read_bytes()


def test_nothing_installed_can_be_written_by_others(installed):
    for path in installed.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.stat().st_mode & 0o022 == 0, path


def test_no_header_or_source_is_installed(installed):
    names = {path.suffix for path in installed.rglob("*") if path.is_file()}
    assert not names & {".c", ".py", ".a"}, names
