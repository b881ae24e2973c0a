import socket

WORK = 4000
DROP_EVERY = 0

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 8899))
requests = 0
while True:
    data, peer = s.recvfrom(2048)
    for _ in range(WORK):
        pass
    requests += 1
    if DROP_EVERY and requests % DROP_EVERY == 0:
        continue
    s.sendto(b"PONG", peer)
