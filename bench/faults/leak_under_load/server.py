"""An HTTP server that opens a log file for every tenth request.

usage: server.py PORT fault|twin

fault: never closes them.
twin:  keeps them in a cache of 150, and closes the oldest.
"""
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

logs = []
asked = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment

    def do_GET(self):
        global asked
        asked += 1
        if asked % 10 == 0:
            logs.append(open(os.devnull, "w"))
            if sys.argv[2] == "twin" and len(logs) > 150:
                logs.pop(0).close()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
