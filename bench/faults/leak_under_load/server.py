"""An HTTP server that writes what is asked into log files.

usage: server.py PORT fault|twin

fault: opens a log for every tenth request, and never closes it.
twin:  keeps the logs it opened in a cache, which holds 150 of them.
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
