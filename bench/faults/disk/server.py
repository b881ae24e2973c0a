"""An HTTP server that writes each request into a journal before it answers.

usage: server.py PORT JOURNAL fault|twin

fault: waits for the disk (fsync), and writes more until 10 ms have passed: disks differ.
twin:  writes, and leaves the disk to the kernel.
"""
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

journal = open(sys.argv[2], "ab", buffering=0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment

    def do_GET(self):
        begin = time.monotonic()
        journal.write(b"x" * 524288)
        while sys.argv[3] == "fault":
            os.fsync(journal.fileno())
            if time.monotonic() - begin >= 0.01:
                break
            journal.write(b"x" * 65536)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
