"""20 clients that ask ten times a second for 8 s, each at its own moment. They connect again when the server ends their
connection, and count an answer that did not come.

usage: clients.py PORT
"""
import socket
import sys
import threading
import time

END = time.monotonic() + 8
PAUSE_S = 0.1
CLIENTS = 20
counts = {"answered": 0, "failed": 0}
lock = threading.Lock()


def count(what):
    with lock:
        counts[what] += 1


def ask_until_cut_off():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        for _ in range(6):
            if time.monotonic() > END:
                return
            connection.setblocking(False)
            try:
                if not connection.recv(1, socket.MSG_PEEK):
                    return  # it was ended between two requests, as agreed
            except BlockingIOError:
                pass
            connection.setblocking(True)
            connection.sendall(b"PING\r\n")
            if not connection.recv(100):
                return count("failed")
            count("answered")
            time.sleep(PAUSE_S)


def client(number):
    time.sleep(number * PAUSE_S / CLIENTS)  # together they would wait for each other
    while time.monotonic() < END:
        try:
            ask_until_cut_off()
        except OSError:
            count("failed")


clients = [threading.Thread(target=client, args=[number]) for number in range(CLIENTS)]
for one in clients:
    one.start()
for one in clients:
    one.join()
print(f"{counts['answered']} answered, {counts['failed']} failed")
