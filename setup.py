"""Builds thinfer: maps the repository's folders onto the namespace package and compiles the kernels.

Every kernel source is compiled once per ISA level that kernels.inc names it for (flags below) and all of them are
linked into one extension; the best level that the CPU has is chosen at import. Nothing is ever compiled
for the machine that happens to build.

Without a compiler the install still succeeds and the NumPy backend runs everything;
``THINFER_REQUIRE_NATIVE=1`` makes a failed build an error instead. ``THINFER_REVISION`` is what measurements made with this build name as
its revision, what git says if it is not set. ``THINFER_JOBS`` compilers run at a time, as many as there
are cores if it does not say; each takes up to 1 GB.
"""

import os
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.extension import Extension

ROOT = Path(__file__).parent
TOP_PACKAGES = ("formats", "kernels", "runtime", "toolchain", "benchmarks")
SHARED = "formats/shared/names.cpp"
"""A source of every extension."""
SANITIZE = os.environ.get("THINFER_SANITIZE", "")
"""Of ``-fsanitize=``, as in "address,undefined": a build for tests (tools/sanitize.sh)."""
SANITIZE_FLAGS = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g1"] if SANITIZE else []
COMMON_FLAGS = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-Wall", "-Wextra", "-fno-math-errno"]
X86_FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mpopcnt"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c", "-mbmi",
               "-mbmi2", "-mpopcnt", "-mprefer-vector-width=512"],
    "avx512vnni": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx512vbmi", "-mavx512vbmi2",
                   "-mavx512bitalg", "-mavx512vpopcntdq", "-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mpopcnt",
                   "-mprefer-vector-width=512"],
}
NO_TABLES = "-fno-asynchronous-unwind-tables"  # nothing is thrown through a kernel, and boards' wheels are to be small
ARM64_FLAGS = {"baseline": [NO_TABLES], "dotprod": ["-march=armv8.2-a+dotprod", NO_TABLES]}
ARM32_FLAGS = {"baseline": ["-march=armv7-a", "-mfpu=neon-vfpv4", "-mfloat-abi=hard", NO_TABLES]}


def isa_flags() -> dict[str, list[str]]:
    """The ISA levels of the target machine, each with its compiler flags; THINFER_LEVELS=baseline,avx2 leaves the others out."""
    machine = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower().split("-")[-1]
    if machine in ("x86_64", "amd64", "i686"):
        flags = X86_FLAGS
    else:
        flags = ARM64_FLAGS if machine in ("aarch64", "arm64") else ARM32_FLAGS if machine.startswith("armv7") else {"baseline": []}
    wanted = os.environ.get("THINFER_LEVELS", ",".join(flags)).split(",")
    unknown = sorted({"baseline", *wanted}.difference(flags))
    if unknown or "baseline" not in wanted:
        raise SystemExit(f"THINFER_LEVELS is {','.join(wanted)!r}; it needs baseline, and may name {', '.join(flags)}")
    return {isa: flags[isa] for isa in flags if isa in wanted}


def kernel_sources(isa: str) -> list[str]:
    """The sources that are compiled for an ISA level: those that kernels.inc lists a kernel of at that level, under the source's name."""
    found: dict[str, None] = {}
    source = ""
    for line in (ROOT / "kernels/kernels.inc").read_text().splitlines():
        if line.startswith("// ") and line.endswith(".cpp"):
            source = f"kernels/{line[3:]}"
        elif line.startswith(f"{isa.upper()}("):
            found[source] = None
    return sorted(found)


def sources(folder: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / folder).glob("*.cpp"))


def headers() -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for top in TOP_PACKAGES for kind in ("h", "inc")
                  for p in (ROOT / top).rglob(f"*.{kind}"))


def revision() -> str:
    """Of the sources; "" where there is none."""
    if "THINFER_REVISION" in os.environ or not (ROOT / ".git").exists():
        return os.environ.get("THINFER_REVISION", "")
    try:
        return subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


class BuildPython(build_py):
    """``build_py`` that adds the revision, for ``benchmarks/environment.py``."""

    def run(self) -> None:
        super().run()
        found = revision()
        if found and not self.editable_mode:
            Path(self.build_lib, "thinfer/benchmarks/revision.txt").write_text(found + "\n")


class BuildNative(build_ext):
    """``build_ext`` that compiles an extension's ``per_isa`` sources once per ISA level."""

    def build_extension(self, ext: Extension) -> None:
        try:
            import pybind11

            ext.include_dirs.append(pybind11.get_include())
            units = [(isa, flags, source) for isa, flags in isa_flags().items() for source in (kernel_sources(isa) if ext.per_isa else [])]
            with ThreadPoolExecutor(int(os.environ.get("THINFER_JOBS", os.cpu_count() or 1))) as jobs:
                ext.extra_objects = [obj for objects in jobs.map(lambda unit: self.compile_kernels(ext, *unit), units) for obj in objects]
            ext.extra_objects += self.compile_small(ext)
            super().build_extension(ext)
        except Exception as error:
            if os.environ.get("THINFER_REQUIRE_NATIVE") == "1":
                raise
            print(f"warning: {ext.name} was not built, the NumPy backend will be used: {error}")

    def compile_small(self, ext: Extension) -> list[str]:
        """Takes from the sources what only binds, starts or describes, and compiles it for size: wheels are to be small."""
        small = [source for source in ext.sources if ext.per_isa or source.endswith("bind.cpp")]
        ext.sources = [source for source in ext.sources if source not in small]
        return self.compiler.compile(small, output_dir=self.build_temp, macros=ext.define_macros, include_dirs=ext.include_dirs,
                                     extra_postargs=[*ext.extra_compile_args, "-Os", "-ffunction-sections", "-fdata-sections"], depends=ext.depends)

    def compile_kernels(self, ext: Extension, isa: str, flags: list[str], source: str) -> list[str]:
        """The object of a source at one ISA level, in a build folder of that level's."""
        return self.compiler.compile(
            [source], output_dir=str(Path(self.build_temp) / isa), include_dirs=["kernels/native"],
            macros=[("THIN_ISA", isa), (f"THIN_ISA_{isa.upper()}", "1")],
            # A level's code may run on no weaker CPU, so nothing in it may be shared with another level:
            # no exceptions, no RTTI, no inline functions with external linkage.
            extra_preargs=[*COMMON_FLAGS, *SANITIZE_FLAGS, *flags, "-fno-exceptions", "-fno-rtti", "-fPIC", "-ffp-contract=fast",
                             "-ffunction-sections"],
            depends=ext.depends)


def extension(name: str, folders: list[str], per_isa: bool) -> Extension:
    isa_macros: list[tuple[str, str | None]] = [(f"THIN_HAVE_{isa.upper()}", "1") for isa in isa_flags()]
    per_level = {src for isa in isa_flags() for src in kernel_sources(isa)} if per_isa else set()
    ext = Extension(name, [*(src for folder in folders for src in sources(folder)), SHARED], depends=[*headers(), *sorted(per_level)], language="c++",
                    include_dirs=["kernels/native"], define_macros=isa_macros,
                    extra_compile_args=[*COMMON_FLAGS, *SANITIZE_FLAGS, "-pthread"],  # kernels have flags of their own
                    extra_link_args=["-pthread", *([f"-fsanitize={SANITIZE}"] if SANITIZE else ["-s"]), "-Wl,--gc-sections"], optional=False)
    ext.per_isa = per_isa
    return ext


def packages() -> list[str]:
    folders = {p.parent.relative_to(ROOT) for top in TOP_PACKAGES for p in (ROOT / top).rglob("__init__.py")}
    return sorted("thinfer." + ".".join(folder.parts) for folder in folders)


setup(
    packages=packages(),
    package_dir={f"thinfer.{top}": top for top in TOP_PACKAGES},
    package_data={"thinfer.toolchain": ["recipes/*.yaml"], "thinfer.formats": ["SPEC.md"]},
    exclude_package_data={"": ["*.cpp", "*.h", "*.inc", "README.md"], "thinfer.benchmarks": ["results/*"]},  # a board's wheel holds what runs
    ext_modules=[
        extension("thinfer.kernels._native", ["runtime/native", "kernels/native"], True),
        extension("thinfer.formats._native", ["formats/native"], False),
    ],
    cmdclass={"build_py": BuildPython, "build_ext": BuildNative},
)
