"""150 clients that look up a key of memcached five times a second for 8 s, and connect again when
they are turned away. Half of them ask at once, as most clients do; the others connect first and
ask later, as pools do.

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


def ask_until_cut_off(number):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        if number % 2:
            time.sleep(PAUSE_S / 2)
        while time.monotonic() < END:
            connection.sendall(b"get key\r\n")
            if connection.recv(100) != b"END\r\n":
                return count("failed")
            count("answered")
            time.sleep(PAUSE_S)


def client(number):
    while time.monotonic() < END:
        try:
            ask_until_cut_off(number)
        except OSError:
            count("failed")
        time.sleep(PAUSE_S)


clients = [threading.Thread(target=client, args=[number]) for number in range(150)]
for one in clients:
    one.start()
for one in clients:
    one.join()
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(b"stats\r\n")
    stats = b""
    while not stats.endswith(b"END\r\n"):
        stats += connection.recv(65536)
rejected = next(line.split()[2] for line in stats.splitlines() if b"rejected_connections" in line)
print(f"{counts['answered']} answered, {counts['failed']} failed, {rejected.decode()} rejected")
