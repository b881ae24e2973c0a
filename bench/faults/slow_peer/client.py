"""Eight clients that fetch a file again and again for 8 s, and read it in pieces of 64 KB.

usage: client.py PORT PAUSE_SECONDS (after each piece)
"""
import socket
import sys
import threading
import time

port, pause = int(sys.argv[1]), float(sys.argv[2])
end = time.monotonic() + 8
took = []


def fetch():
    begin = time.monotonic()
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while connection.recv(65536):
            time.sleep(pause)
    took.append(time.monotonic() - begin)


def client():
    while time.monotonic() < end:
        fetch()
        time.sleep(1)  # so that those that read at once do not keep all CPUs busy


clients = [threading.Thread(target=client) for _ in range(8)]
for one in clients:
    one.start()
for one in clients:
    one.join()
took.sort()
print(f"{took[len(took) // 2] * 1e3:.1f} ms, {took[-1] * 1e3:.1f} ms (max), {len(took)} files")
