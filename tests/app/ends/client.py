"""Asks the server of server.py, and prints how many answers came: of HTTP, then datagrams."""
import socket
import threading
import time

answers = [0, 0]
lock = threading.Lock()


def count(kind):
    with lock:
        answers[kind] += 1


def web():
    with socket.create_connection(("10.77.0.2", 8080)) as s:
        for i in range(40):
            path = b"slow" if i % 20 == 7 else b"fast"
            s.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            got = b""
            while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < 20000:
                got += s.recv(65536)
            count(0)


def ping():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        for i in range(60):
            s.sendto(b"ping %d" % i, ("10.77.0.2", 8888))
            try:
                s.recv(2000)
                count(1)
            except TimeoutError:
                pass
            time.sleep(0.005)


threads = [threading.Thread(target=web) for _ in range(6)] + [threading.Thread(target=ping) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*answers)
