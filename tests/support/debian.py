"""Programs out of Debian's packages: `python -m tests.support.debian PACKAGE usr/bin/PROGRAM FOLDER` unpacks one.

The program and the libraries that are missing here are unpacked into the virtual environment; nothing is installed,
and no root is needed. Where that cannot be, the tests that need the program are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_LONGEST_S = 90


def find(program: str) -> Path | None:
    """The program, such as usr/bin/promtool: unpacked in the virtual environment, else the system's."""
    for place in (Path(sys.prefix) / "debian", Path("/")):
        if (there := place / program).is_file():
            return there
    on_path = shutil.which(Path(program).name)
    return Path(on_path) if on_path else None


def unpack(package: str, program: str, folder: Path) -> None:
    """A program and its libraries into the folder, by the system's package lists or, if need be, by new ones.

    Raises:
        OSError, subprocess.SubprocessError: there is no apt, no such package, or no way to it.
    """
    with tempfile.TemporaryDirectory() as place:
        apt = _Apt(Path(place), package)
        try:
            packages = apt.download()
        except subprocess.CalledProcessError:
            apt.update()
            packages = apt.download()
        partly = Path(place) / "unpacked"
        for each in packages:
            apt.run("dpkg-deb", "-x", str(each), str(partly))
        apt.run(str(partly / program), "--help", LD_LIBRARY_PATH=_libraries(partly))
        for file in (partly / program, *partly.glob("usr/lib/*/lib*.so.*")):
            to = folder / file.relative_to(partly)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)


def _libraries(place: Path) -> str:
    return ":".join(map(str, place.glob("usr/lib/*")))


class _Apt:
    """apt with a cache and, after update(), package lists of its own, so that nothing of the system changes."""

    def __init__(self, place: Path, package: str) -> None:
        self.place, self.package = place, package
        self.configuration = place / "apt.conf"
        self.ends_at = time.monotonic() + _LONGEST_S
        (place / "cache" / "archives" / "partial").mkdir(parents=True)
        # What an update runs afterwards tidies up the system's cache.
        self.configuration.write_text(
            f'Dir::Cache "{place}/cache/";\nAcquire::Retries "0";\nAcquire::http::Timeout "20";\n'
            "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
        )

    def update(self) -> None:
        (self.place / "lists" / "partial").mkdir(parents=True)
        with self.configuration.open("a") as configuration:
            configuration.write(f'Dir::State::lists "{self.place}/lists/";\n')
        self.apt("apt-get", "-qq", "update")

    def download(self) -> list[Path]:
        depends = re.findall(r"Depends: (lib(?!js)[\w.+-]+)", self.apt("apt-cache", "depends", self.package))
        self.apt("apt-get", "-qq", "download", self.package, *(name for name in depends if not self.is_installed(name)))
        return sorted(self.place.glob("*.deb"))

    def is_installed(self, package: str) -> bool:
        look = ["dpkg-query", "-W", "-f=${Status}", package]
        return "ok installed" in subprocess.run(look, capture_output=True, text=True, check=False).stdout

    def apt(self, program: str, *arguments: str) -> str:
        return self.run(program, "-c", str(self.configuration), *arguments)

    def run(self, *command: str, **environment: str) -> str:
        left = max(1.0, self.ends_at - time.monotonic())
        ran = subprocess.run(
            command,
            cwd=self.place,
            env={**os.environ, "LC_ALL": "C", **environment},
            capture_output=True,
            text=True,
            timeout=left,
            check=True,
        )
        return ran.stdout


if __name__ == "__main__":
    package, program, folder = sys.argv[1:]
    try:
        if find(program) is None:
            unpack(package, program, Path(folder).absolute())
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"no {Path(program).name} to be had ({error}); its tests will be skipped (apt-get install {package})")
