"""Answers HTTP on port 8080, after 50 ms if the path is /slow, and datagrams on port 8888.

usage: server.py FILE     (a line per slow request: how long it took here, in nanoseconds)
"""
import socket
import sys
import threading
import time

BODY = b"x" * 20000
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
log = open(sys.argv[1], "w", buffering=1)


def serve(connection):
    with connection:
        while data := connection.recv(65536):
            begin = time.monotonic_ns()
            if b"/slow" in data:
                time.sleep(0.05)
                log.write(f"{time.monotonic_ns() - begin}\n")
            connection.sendall(REPLY)


def echo():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.77.0.2", 8888))
    while True:
        data, peer = s.recvfrom(2000)
        s.sendto(data, peer)


threading.Thread(target=echo, daemon=True).start()
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("10.77.0.2", 8080))
listener.listen(100)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
