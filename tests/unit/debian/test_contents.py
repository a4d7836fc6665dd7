"""Which package has a library, by the indexes of a distribution."""

from dlimg.debian.contents import closure, essential, library_packages, parse_packages

CONTENTS = """\
usr/lib/x86_64-linux-gnu/libGL.so.1                     libs/libgl1
usr/lib/x86_64-linux-gnu/libavcodec.so.59  libs/libavcodec-extra59,libs/libavcodec59
usr/lib/x86_64-linux-gnu/blas/libblas.so.3 libs/libblas3
lib/x86_64-linux-gnu/libz.so.1.2.13        libs/zlib1g
usr/lib/x86_64-linux-gnu/pulseaudio/libx.so.1 libs/libpulse0
usr/share/doc/libgl1/copyright             libs/libgl1
"""
PACKAGES = """\
Package: libgl1
Priority: optional
Depends: libc6 (>= 2.14), libglx0 (= 1.6.0-1), libx11-6 | libx11-7
Description: one
 Depends: nothing of this line

Package: libglx0
Depends: libx11-6, libgl-driver

Package: libx11-6
Pre-Depends: libc6

Package: mesa
Provides: libgl-driver, other (= 1)

Package: libc6
Priority: required
"""


def test_libraries_in_the_loaders_folders_have_their_packages() -> None:
    assert list(library_packages(CONTENTS.splitlines())) == [
        ("libGL.so.1", "libgl1"),
        ("libavcodec.so.59", "libavcodec-extra59"),
        ("libavcodec.so.59", "libavcodec59"),
        ("libblas.so.3", "libblas3"),
        ("libz.so.1.2.13", "zlib1g"),
    ]


def test_a_package_comes_with_all_that_it_depends_on() -> None:
    packages = parse_packages(PACKAGES)
    assert packages["libgl1"].depends == (("libc6",), ("libglx0",), ("libx11-6", "libx11-7"))
    assert essential(packages) == ["libc6"]
    assert closure(["libgl1"], packages) == {"libgl1", "libglx0", "libx11-6", "libc6", "mesa"}
    assert closure(["unknown"], packages) == set()
