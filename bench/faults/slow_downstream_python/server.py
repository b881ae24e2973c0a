"""An HTTP server with threads that asks another service for each request, by a new connection.

usage: server.py PORT DOWNSTREAM_PORT
"""
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment

    def do_GET(self):
        service = HTTPConnection("127.0.0.1", int(sys.argv[2]))
        service.request("GET", "/answer")
        answer = service.getresponse().read()
        service.close()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
