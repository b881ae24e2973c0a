"""40 clients that ping redis five times a second for 8 s, and connect again when they are cut off.

usage: clients.py PORT
"""
import socket
import sys
import threading
import time

END = time.monotonic() + 8
PAUSE_S = 0.2
counts = {"answered": 0, "failed": 0}
lock = threading.Lock()


def count(what):
    with lock:
        counts[what] += 1


def ping_until_cut_off():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        while time.monotonic() < END:
            connection.sendall(b"PING\r\n")
            if connection.recv(100) != b"+PONG\r\n":
                return count("failed")
            count("answered")
            time.sleep(PAUSE_S)


def client():
    while time.monotonic() < END:
        try:
            ping_until_cut_off()
        except OSError:
            count("failed")
        time.sleep(PAUSE_S)


clients = [threading.Thread(target=client) for _ in range(40)]
for one in clients:
    one.start()
for one in clients:
    one.join()
print(f"{counts['answered']} answered, {counts['failed']} failed")
