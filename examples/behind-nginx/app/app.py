"""An application that says who it was told is asking, from where, and by what scheme."""

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        who = self.headers.get("Remote-User", "nobody")
        address = self.headers.get("X-Forwarded-For", "nowhere")
        scheme = self.headers.get("X-Forwarded-Proto", "nothing")
        body = f"{who} from {address} by {scheme}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("0.0.0.0", 3000), Answer).serve_forever()
