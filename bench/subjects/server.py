"""The servers of bench/plans on Python's asyncio. usage: server.py ROLE PORT [ADDRESS] (roles as in c/server.c)"""
import asyncio
import socket
import sys

HOST = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
KEEP = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world\n"
CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world\n"
kept = []


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Http(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.request = transport, b""

    def data_received(self, data):
        self.request += data
        while b"\r\n\r\n" in self.request:
            head, self.request = self.request.split(b"\r\n\r\n", 1)
            last = b"connection: close" in head.lower()
            self.transport.write(CLOSE if last else KEEP)
            if last:
                return self.transport.close()


class Hello(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")
        transport.close()


class Leak(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")
        transport.write_eof()
        kept.append(transport)

    def eof_received(self):
        return True  # stay open


async def main(role, port):
    loop = asyncio.get_running_loop()
    if role == "udp":
        await loop.create_datagram_endpoint(Echo, local_addr=(HOST, port))
    else:
        protocol = {"http": Http, "accept": Hello, "accept-leak": Leak}[role]
        listener = socket.create_server((HOST, port), backlog=4096)
        await loop.create_server(protocol, sock=listener, backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
