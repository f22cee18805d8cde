"""Builds the compiled part beside its source, where there is a C compiler. Without one the worker is plain Python."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "app/_compiled.pyx"


class CompiledPart(BuildHookInterface):  # type: ignore[type-arg]
    """Asked by hatchling before it packs a wheel, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and have what was built packed."""
        del version
        if built := build(Path(self.root)):
            build_data["artifacts"].append(f"/{built.as_posix()}")
            build_data.update(pure_python=False, infer_tag=True)


def build(root: Path) -> Path | None:
    """The extension module, relative to `root`; None where it cannot be built, which is said in a line."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.errors import BaseError, CCompilerError

    extension = Extension("app._compiled", [SOURCE], extra_compile_args=["-g0"])
    before = Path.cwd()
    os.chdir(root)  # sources are named from here, so that no path of this machine gets into what is built
    try:
        with tempfile.TemporaryDirectory() as scratch:
            modules = cythonize([extension], build_dir=scratch, quiet=True)
            command = Distribution({"name": "patient-upsert", "ext_modules": modules}).get_command_obj("build_ext")
            command.inplace, command.build_temp = True, scratch
            command.ensure_finalized()
            built = Path(command.get_ext_fullpath("app._compiled"))
            built.unlink(missing_ok=True)  # one of another time would be taken for this one
            if os.environ.get("WITHOUT_COMPILER"):
                raise BaseError("WITHOUT_COMPILER is set")
            command.run()
            return built
    except (BaseError, CCompilerError) as error:
        print(f"patient-upsert: plain Python only, at half the speed: {error}", file=sys.stderr)
        return None
    finally:
        os.chdir(before)


if __name__ == "__main__":
    build(Path(__file__).parent)
