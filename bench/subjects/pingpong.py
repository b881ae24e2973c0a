"""UDP ping-pong on Python's asyncio. usage: pingpong.py server PORT | swarm PORT CLIENTS SECONDS"""
import asyncio
import os
import sys

HOST = "127.0.0.1"
sent = received = 0


class Server(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(b"PONG", address)


class Client(asyncio.DatagramProtocol):
    """Sends, waits for the answer, sleeps a second, sends again."""

    def connection_made(self, transport):
        self.transport = transport
        self.ping()

    def ping(self):
        global sent
        self.transport.sendto(b"PING")
        sent += 1

    def datagram_received(self, data, address):
        global received
        received += 1
        asyncio.get_running_loop().call_later(1, self.ping)


async def serve(port):
    await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=(HOST, port))
    await asyncio.Event().wait()


async def swarm(port, clients, seconds):
    loop = asyncio.get_running_loop()

    async def join():
        for _ in range(clients):
            await loop.create_datagram_endpoint(Client, remote_addr=(HOST, port))
            await asyncio.sleep(1 / clients)

    joining = asyncio.create_task(join())
    await asyncio.sleep(seconds)
    print(f"swarm: {clients} clients sent {sent}, received {received}", flush=True)
    joining.cancel()
    os._exit(0)  # closing thousands of transports in order would gain nothing


role, port, *rest = sys.argv[1:]
asyncio.run(serve(int(port)) if role == "server" else swarm(int(port), *map(int, rest)))
