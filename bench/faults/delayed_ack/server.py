"""An HTTP server that sends head and body of a reply separately, as http.server does by default.

usage: server.py PORT fault|twin

fault: Nagle's algorithm holds the body until the client acknowledges the head, 40 ms later.
twin:  sends them separately, too, but with TCP_NODELAY.
"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = sys.argv[2] == "twin"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
