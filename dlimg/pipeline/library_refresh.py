"""Writes the table of system libraries anew: `nox -s libraries`.

Indexes are downloaded from the distributions' own servers, or from a mirror that is named.
"""

import gzip
import lzma
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import requests

from dlimg.debian.contents import closure, essential, library_packages, parse_packages
from dlimg.facts.system_libraries import (
    DistributionLibraries,
    SystemLibraries,
    system_libraries_text,
)
from dlimg.pipeline.facts_files import FACTS

TABLE: Final = "system_libraries.json"
_SECONDS: Final = 300
_DEBIAN: Final = "http://deb.debian.org/debian"
_UBUNTU: Final = "http://archive.ubuntu.com/ubuntu"
# What an image has besides a distribution's essential packages, as `system_packages` asks for it.
_OF_IMAGES: Final = ("ca-certificates", "tini", "python3", "python3-gdbm", "apt")
# Libraries that wheels need and do not bring, by the beginning of their names: screens, sound,
# video, documents, databases, numbers, networks and clusters.
_COMMON: Final = re.compile(
    r"lib(?:"
    r"GL|GLX|GLdispatch|OpenGL|EGL|GLU|GLESv2|OSMesa|glut|GLEW|gbm|drm|vulkan|va|vdpau|glfw|OpenCL"
    r"|X11|X11-xcb|Xext|Xrender|Xi|Xtst|Xft|Xt|Xmu|Xpm|Xaw|Xrandr|Xcursor|Xinerama|Xfixes"
    r"|Xdamage|Xcomposite|Xss|XScrnSaver|Xau|Xdmcp|Xv|Xxf86vm|xcb|xcb-[a-z0-9-]+|xkbcommon"
    r"|xkbcommon-x11|xshmfence|SM|ICE|wayland-[a-z]+|epoxy|fontconfig|freetype|harfbuzz"
    r"|glib-2\.0|gobject-2\.0|gio-2\.0|gmodule-2\.0|gthread-2\.0|dbus-1|gtk-3|gdk-3|gtk-4"
    r"|gtk-x11-2\.0|gdk-x11-2\.0|gdk_pixbuf-2\.0|cairo|cairo-gobject|pango-1\.0|pangocairo-1\.0"
    r"|pangoft2-1\.0|atk-1\.0|atk-bridge-2\.0|atspi|rsvg-2|girepository-1\.0|notify"
    r"|asound|pulse|pulse-simple|jack|sndfile|portaudio|samplerate|sox|FLAC|ogg|vorbis|vorbisenc"
    r"|vorbisfile|opus|opusfile|mp3lame|mpg123|speex|rubberband|fluidsynth"
    r"|avcodec|avformat|avutil|avfilter|avdevice|swscale|swresample|postproc|x264|x265|vpx"
    r"|theora|theoraenc|theoradec|dav1d|aom|gstreamer-1\.0|v4l2|dc1394|raw1394"
    r"|png16|jpeg|turbojpeg|tiff|webp|webpdemux|webpmux|openjp2|heif|de265|gif|lcms2"
    r"|raw|exif|poppler|poppler-cpp|tesseract|lept|zbar|dmtx|gs"
    r"|xml2|xslt|exslt|yaml|yaml-0|jansson|archive|magic|enchant-2|hunspell|aspell|espeak-ng"
    r"|pq|mariadb|mysqlclient|odbc|odbcinst|tdsodbc|sybdb|ct|rdkafka|hiredis|memcached|snappy"
    r"|leveldb|rocksdb|lmdb|db-5\.3|gdbm|duckdb|spatialite|sqlite3|lz4|zstd|brotlicommon"
    r"|brotlidec|brotlienc|blosc|minizip|zip|bz2|lzma|z"
    r"|gomp|gfortran|quadmath|itm|atomic|blas|cblas|lapack|lapacke|openblas|atlas|tbb|tbbmalloc"
    r"|fftw3|fftw3f|fftw3_omp|fftw3f_omp|gsl|gslcblas|mpfr|gmp|gmpxx|mpc|flint|ntl|glpk|umfpack"
    r"|cholmod|amd|suitesparseconfig|arpack|mkl_rt|metis|scotch|hwloc|numa|cpuinfo"
    r"|hdf5|hdf5_hl|hdf5_cpp|hdf5_serial|netcdf|geos_c|geos|proj|gdal|spatialindex|geotiff|udunits2"
    r"|eccodes|matio|openslide|dcmtk"
    r"|mpi|mpi_cxx|mpi_mpifh|mpich|mpicxx|open-rte|open-pal|pmix|ibverbs|mlx4|mlx5|rdmacm|ucp|ucs"
    r"|uct|ucm|fabric|psm2|psm_infinipath|infinipath|munge|slurm"
    r"|curl|curl-gnutls|ssh|ssh2|gnutls|nettle|hogweed|ssl|crypto|krb5|gssapi_krb5|k5crypto|com_err"
    r"|ldap|lber|sasl2|nss3|nssutil3|smime3|nspr4|plc4|plds4|idn2|psl|nghttp2|rtmp|zmq|nanomsg"
    r"|protobuf|protobuf-lite|grpc|grpc\+\+|event|event_core|uv|ev|cares|unbound|pcap|nl-3|usb-1\.0"
    r"|usb|udev|systemd|cups|bluetooth|hidapi-libusb|ftdi1|gps|serialport"
    r"|sodium|gpgme|gpg-error|assuan|pcsclite|secret-1|keyutils|cap|seccomp"
    r"|icuuc|icui18n|icudata|pcre|pcre2-8|re2|glog|gflags|unwind"
    r"|jemalloc|tcmalloc|tcmalloc_minimal|mimalloc|dw|elf|bfd"
    r"|tirpc|nsl|crypt|ltdl|ffi|expat|uuid|readline"
    r"|ncurses|ncursesw|tinfo|panel|panelw|gcc_s|stdc\+\+|SDL2-2\.0|SDL-1\.2"
    r"|assimp|bullet|ode|freeimage"
    r")(?:-[\d.]+)?\.so\.\d+(?:\.[1-9]\d?)?"
)
# The C library's own, which every image has.
_C_LIBRARY: Final = re.compile(
    r"lib(?:c|m|pthread|dl|rt|util|resolv|nsl|anl|thread_db|BrokenLocale|mvec|nss_\w+)\.so\.\d+"
)
_LOADERS: Final = ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionIndex:
    """A distribution's name in the facts, the folder of its release, and its indexes there."""

    name: str
    python: str
    folder: str
    contents: str
    packages: tuple[str, ...]


INDEXES: Final = (
    DistributionIndex(
        name="Debian 12",
        python="python3.11-venv",
        folder=f"{_DEBIAN}/dists/bookworm",
        contents="main/Contents-amd64.gz",
        packages=("main/binary-amd64/Packages.xz",),
    ),
    DistributionIndex(
        name="Debian 13",
        python="python3.13-venv",
        folder=f"{_DEBIAN}/dists/trixie",
        contents="main/Contents-amd64.gz",
        packages=("main/binary-amd64/Packages.xz",),
    ),
    DistributionIndex(
        name="Ubuntu 24.04",
        python="python3.12-venv",
        folder=f"{_UBUNTU}/dists/noble",
        contents="Contents-amd64.gz",
        packages=("main/binary-amd64/Packages.xz", "universe/binary-amd64/Packages.xz"),
    ),
)


def read_index(address: str, mirrors: Mapping[str, str]) -> str:
    """Return the text of an index, from a mirror of its server if there is one."""
    for server, mirror in mirrors.items():
        address = address.replace(server, mirror)
    with requests.get(address, timeout=_SECONDS) as answer:
        answer.raise_for_status()
        content = answer.content
    unpack = gzip.decompress if address.endswith(".gz") else lzma.decompress
    return unpack(content).decode(errors="replace")


def distribution_libraries(
    index: DistributionIndex, mirrors: Mapping[str, str]
) -> DistributionLibraries:
    """Return the libraries of one distribution, from its indexes."""
    texts = [read_index(f"{index.folder}/{path}", mirrors) for path in index.packages]
    packages = parse_packages("\n\n".join(texts))
    base = closure([*essential(packages), *_OF_IMAGES, index.python], packages)
    lines = read_index(f"{index.folder}/{index.contents}", mirrors).splitlines()
    common: dict[str, str] = {}
    have: set[str] = set(_LOADERS)
    for library, owner in library_packages(lines):
        if owner in base or _C_LIBRARY.fullmatch(library):
            have.add(library)
        elif owner in packages and _COMMON.fullmatch(library):
            common[library] = min(common.get(library, owner), owner, key=_plainness)
    owners = set(common.values())
    brings = {owner: frozenset(closure([owner], packages) & owners) for owner in owners}
    return DistributionLibraries(packages=common, base=frozenset(have), brings=brings)


def _plainness(package: str) -> tuple[bool, int, str]:
    """Order packages with one library: a plain one comes before variants and debug builds."""
    return any(word in package for word in ("dbg", "cross", "-dev", "i386")), len(package), package


def _libraries(mirrors: Mapping[str, str]) -> Iterator[tuple[str, DistributionLibraries]]:
    for index in INDEXES:
        yield index.name, distribution_libraries(index, mirrors)


def main() -> None:
    """Write the table again; each argument is `SERVER=MIRROR`, for a server behind a mirror."""
    mirrors = dict(argument.split("=", 1) for argument in sys.argv[1:])
    table = SystemLibraries(
        source="the indexes Contents and Packages of each distribution",
        checked=datetime.now(tz=UTC).date().isoformat(),
        distributions=dict(_libraries(mirrors)),
    )
    Path(FACTS, TABLE).write_text(system_libraries_text(table), encoding="utf-8")


if __name__ == "__main__":
    main()
