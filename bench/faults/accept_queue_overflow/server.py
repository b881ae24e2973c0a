"""An HTTP server with an accept queue of 4 that takes 30 ms for each request.

usage: server.py PORT fault|twin

fault: one thread, which accepts the next connection when it is done with the last.
twin:  the same queue and the same work, but a thread for each connection, so accept never waits.
"""
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.03)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


Server = HTTPServer if sys.argv[2] == "fault" else ThreadingHTTPServer
Server.request_queue_size = 4
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
