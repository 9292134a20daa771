"""Answers every request with what it was read as, in the ways of WSGI and Python's libraries."""

import posixpath
import re
from urllib.parse import quote, unquote, urlsplit

IDENTITY = ("HTTP_REMOTE_USER", "HTTP_REMOTE_GROUPS", "HTTP_X_FORWARDED_USER", "REMOTE_USER")


def readings(environ):
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    sent = environ["RAW_URI"]
    for text in (path, unquote(path), urlsplit(sent).path, unquote(urlsplit(sent).path)):
        yield text
        yield posixpath.normpath(text)
        yield re.sub(r";[^/]*", "", text)


def application(environ, start_response):
    environ["wsgi.input"].read()
    lines = ["x-reading: " + quote(reading, safe="") for reading in readings(environ)]
    lines += ["x-identity: " + environ[name] for name in IDENTITY if name in environ]
    body = ("\n".join(lines) + "\n").encode("latin-1", "replace")
    case = environ.get("HTTP_X_CASE", "")
    headers = [("Content-Length", str(len(body))), ("X-Case", case), ("X-Encoded", "yes")]
    start_response("200 OK", headers)
    return [body]
