"""A line between the interfaces to_a and to_b: every frame from b takes 20 ms, and every 40th
datagram from a to port 8888 is lost.

usage: line.py FILE     (keeps the number of lost datagrams)
"""
import collections
import select
import socket
import sys
import time

DELAY = 0.020
LOSE_EVERY = 40
PACKET_OUTGOING = 4
ETH_P_ALL = 3


def link(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
    s.bind((name, 0))
    return s


def is_ping(frame):
    return frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == (8888).to_bytes(2, "big")


a, b = link("to_a"), link("to_b")
waiting = collections.deque()
pings = lost = 0


def keep():
    with open(sys.argv[1], "w") as file:
        file.write(f"{lost}\n")


keep()
while True:
    left = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
    ready, _, _ = select.select([a, b], [], [], left)
    for s in ready:
        frame, address = s.recvfrom(65536)
        if address[2] == PACKET_OUTGOING:
            continue
        if s is b:
            waiting.append((time.monotonic() + DELAY, frame))
            continue
        if is_ping(frame):
            pings += 1
            if pings % LOSE_EVERY == 0:
                lost += 1
                keep()
                continue
        b.send(frame)
    while waiting and waiting[0][0] <= time.monotonic():
        a.send(waiting.popleft()[1])
