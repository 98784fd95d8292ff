"""Restrict pip, which fetches, unpacks and installs outside of the sandbox; `run_pip.py` imports it.

Standard library only, syntax of Python 3.7. The last pip for an old Python has known faults: that of 3.7
writes through the symbolic links of an sdist (CVE-2025-8869), and a script to wherever its name leads
(CVE-2026-8643). Every pip reads a response without an end, and a file of this machine that an index
names. A refusal ends pip with a line that `resolve.refusal` reads.
"""

import functools
import http.client
import io
import json
import os
import posixpath
import sys
import tarfile
import time
import zipfile
from urllib.parse import urljoin, urlsplit

FILE = 8 << 30
"""Bytes of one file of pip: a wheel has no more, and the response of an index may have no end."""
PAGE = 64 << 20
"""Bytes of a page of an index; those of the largest projects have less than 10 MiB."""
RATE = 1024
"""Bytes per second; a slower response is refused."""
UNPACKED, MEMBERS = 4 << 30, 500000
"""Bytes and files of an sdist."""


def restrict(package):
    """Restrict a pip: modules that import these names afterwards get them as they are here.

    :param package: the directory of pip.
    """
    http.client.HTTPConnection = Connection
    sys.path.insert(0, os.path.dirname(package))
    try:
        from pip._internal.models.link import Link  # noqa: PLC0415 - of this pip
        from pip._internal.req import constructors  # noqa: PLC0415 - the same
        from pip._internal.utils import unpacking  # noqa: PLC0415 - the same
        from pip._vendor.distlib.scripts import ScriptMaker  # noqa: PLC0415 - the same
        from pip._vendor.packaging import markers  # noqa: PLC0415 - the same
        from pip._vendor.urllib3.response import HTTPResponse  # noqa: PLC0415 - the same
    finally:
        # A pip that installs the requirements of a build must not see the modules beside it.
        del sys.path[0]
    restrict_decoding(HTTPResponse)
    restrict_links(Link)
    restrict_dependencies(constructors)
    restrict_archives(unpacking)
    restrict_scripts(ScriptMaker)
    if os.environ.get("BUNDLER_MARKERS"):
        replace_markers(markers, json.loads(os.environ["BUNDLER_MARKERS"]))


def replace_markers(markers, values):
    """Evaluate markers for another platform: pip does it for its own Python (pypa/pip#11664).

    :param markers: the module of pip.
    :param values: the environment of markers.
    """
    markers.default_environment = lambda: dict(values)


def refuse(kind, text):
    """End pip with an error, whose line `resolve.refusal` reads."""
    from pip._internal.exceptions import InstallationError  # noqa: PLC0415 - the pip of `restrict`

    mark = os.environ.get("BUNDLER_MARK", "")  # hooks do not have it: they cannot print this line
    raise InstallationError("refused{} {}: {}".format(mark, kind, text))


class Body(io.RawIOBase):
    """The body of a response, which ends.

    :param limit: bytes; pip keeps a page in memory.
    :param url: for the message.
    """

    def __init__(self, stream, limit, url):
        self.stream, self.limit, self.url = stream, limit, url
        self.received, self.waited, self.before = 0, 0.0, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        started = time.monotonic()
        count = self.stream.readinto1(buffer)
        self.waited += time.monotonic() - started
        self.received += count or 0
        if self.received > self.limit:
            refuse("response", "{}: more than {} bytes".format(self.url, self.limit))
        if self.waited > 4 * float(os.environ.get("PIP_TIMEOUT") or 15):
            size = self.received - self.before
            if size < RATE * self.waited:
                refuse("response", "{}: {} bytes in {:.0f} s".format(self.url, size, self.waited))
            self.waited, self.before = 0.0, self.received
        return count

    def close(self):
        self.stream.close()
        super().close()


class Connection(http.client.HTTPConnection):
    """A connection whose responses end and lead to http(s) only; pip reads any file that a redirect names."""

    def putrequest(self, method, url, *rest, **options):
        self.requested = urljoin("http://{}:{}".format(self.host, self.port), url)
        self.limit = FILE
        return super().putrequest(method, url, *rest, **options)

    def putheader(self, header, *values):
        # pip accepts one of a few formats of a page, and any file.
        if header.lower() == "accept" and os.fsdecode(values[0]) != "*/*":
            self.limit = PAGE
        return super().putheader(header, *values)

    def getresponse(self, *rest, **options):
        response = super().getresponse(*rest, **options)
        target = response.getheader("Location")
        if target and urlsplit(urljoin(self.requested, target)).scheme not in ("http", "https"):
            refuse("response", "{}: a redirect to {}".format(self.requested, target))
        response.requested = self.requested
        if response.fp is not None:
            response.fp = io.BufferedReader(Body(response.fp, self.limit, self.requested))
        return response


def restrict_decoding(response_class):
    """Limit the size of a decompressed page: a megabyte of it can be a gigabyte of memory."""
    decode = response_class._decode  # noqa: SLF001 - it covers every Content-Encoding

    def limited(response, *rest, **options):
        data = decode(response, *rest, **options)
        if getattr(response, "_decoder", None):
            response.decoded = getattr(response, "decoded", 0) + len(data)
            if response.decoded > PAGE:
                origin = getattr(response, "_original_response", None)
                url = getattr(origin, "requested", "a page")
                refuse("response", "{}: more than {} bytes".format(url, PAGE))
        return data

    response_class._decode = limited  # noqa: SLF001


def restrict_links(link_class):
    """Refuse a link of a page of an index to a file of this machine."""
    file_path = link_class.file_path

    def path_of(link):
        if str(link.comes_from or "").startswith(("http:", "https:")):
            refuse("link", "{} of the page {}".format(link.url_without_fragment, link.comes_from))
        return file_path.fget(link)

    link_class.file_path = property(path_of)


def restrict_dependencies(constructors):
    """Refuse a dependency by a URL that the requirements do not name: pip would fetch it."""
    from_string = constructors.install_req_from_req_string

    @functools.wraps(from_string)
    def requirement_of(text, comes_from=None, *rest, **options):
        made = from_string(text, comes_from, *rest, **options)
        url = made.req.url
        if comes_from is None or not url:
            return made
        required = required_urls(sys.argv).get(url.partition("#")[0])
        if required is None:
            refuse("dependency", "{} @ {} of {}".format(made.req.name, url, comes_from.name))
        # pip takes a URL with a digest and one without it for two files.
        text = text if "#" in url else text.replace(url, required)
        return from_string(text, comes_from, *rest, **options)

    constructors.install_req_from_req_string = requirement_of


def required_urls(arguments):
    """Return the words of the requirements and constraints files, by their text before a ``#``."""
    words = {}
    rest = iter(arguments)
    for argument in rest:
        if argument in ("-r", "-c"):
            with open(next(rest), encoding="utf-8") as stream:
                words.update((word.partition("#")[0], word) for word in stream.read().split())
    return words


def restrict_archives(unpacking):
    """Refuse a member of an sdist that leads out of it; filters of tarfile have faults as well."""
    untar_file, unzip_file = unpacking.untar_file, unpacking.unzip_file

    def untar(filename, *rest, **options):
        with tarfile.open(filename, "r:*") as tar:
            fault = tar_fault(tar)
        if fault:
            refuse("archive", "{}: {}".format(os.path.basename(filename), fault))
        return untar_file(filename, *rest, **options)

    def unzip(filename, *rest, **options):
        with zipfile.ZipFile(filename) as archive:
            if sum(info.file_size for info in archive.infolist()) > UNPACKED:
                refuse("archive", "{}: more than {} bytes".format(os.path.basename(filename), UNPACKED))
        return unzip_file(filename, *rest, **options)

    unpacking.untar_file, unpacking.unzip_file = untar, unzip


def tar_fault(tar):
    """Return the fault of the members of a tar archive, or None.

    A member is not below a link. The target of a link is some directories up and then others down, in the
    top directory of the archive: so every link on the way ends in it, too.
    """
    kinds, size = {}, 0
    for member in tar:
        size += member.size
        if member.size < 0 or size > UNPACKED or len(kinds) > MEMBERS:
            return "more than {} bytes, or {} files".format(UNPACKED, MEMBERS)
        place = posixpath.normpath(member.name)
        if place.startswith(("/", "..")) or ".." in member.name.split("/"):
            return "`{}` leads out of it".format(member.name)
        kind = "link" if member.issym() else "directory" if member.isdir() else "file"
        if member.islnk() and kinds.get(posixpath.normpath(member.linkname)) != "file":
            return "`{}` is a link to `{}`, which is not a file of it".format(member.name, member.linkname)
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            return "`{}` is not a regular file".format(member.name)
        if kind == "link" and not is_inside(place, member.linkname):
            return "`{}` is a link to `{}`".format(member.name, member.linkname)
        if kinds.setdefault(place, kind) != kind:
            return "`{}` is there twice".format(member.name)
    for place in kinds:
        parts = place.split("/")
        for end in range(1, len(parts)):
            if kinds.get("/".join(parts[:end])) == "link":
                return "`{}` is below a link".format(place)
    return None


def is_inside(place, target):
    """Return whether a link leads some directories up, and then down, in the top directory of an archive."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = len([part for part in parts if part == ".."])
    # The top directory has no link itself: pip omits its name.
    return not target.startswith("/") and ".." not in parts[up:] and up < len(place.split("/")) - 1


def restrict_scripts(maker_class):
    """Refuse the name of a script that is a path."""
    make_multiple = maker_class.make_multiple

    def make(maker, specifications, *rest, **options):
        for text in specifications:
            if "/" in text or os.sep in text:
                refuse("script", "`{}`: its name is a path".format(text))
        return make_multiple(maker, specifications, *rest, **options)

    maker_class.make_multiple = make
