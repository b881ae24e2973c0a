"""An HTTP server that writes the path of each request into a log file.

usage: server.py PORT fault|twin

fault: opens the log for each request, and never closes it.
twin:  opens 50 logs, one per request, keeps them, and then writes into the last.
"""
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

logs = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment

    def do_GET(self):
        if sys.argv[2] == "fault" or len(logs) < 50:
            logs.append(open(os.devnull, "w"))
        logs[-1].write(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
