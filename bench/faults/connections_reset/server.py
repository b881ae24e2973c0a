"""A server of lines that ends connections after five answers.

usage: server.py PORT fault|twin

fault: with a reset, as a worker does that is killed, or a server whose timeout has SO_LINGER 0.
twin:  after the answer, as a server does that limits the requests of a connection.
"""
import socket
import struct
import sys
import threading

ANSWERS = 5


def serve(connection):
    with connection:
        for _ in range(ANSWERS):
            if not connection.recv(100):
                return
            connection.sendall(b"+OK\r\n")
        if sys.argv[2] == "fault":
            connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as server:
    while True:
        threading.Thread(target=serve, args=[server.accept()[0]], daemon=True).start()
