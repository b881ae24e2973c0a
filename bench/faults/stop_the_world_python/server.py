"""An HTTP server in asyncio with a table of 400,000 orders, which collects garbage every 2 s.

usage: server.py PORT fault|twin

fault: the collector walks the whole table each time.
twin:  gc.freeze() takes the table out of what the collector walks.
"""
import asyncio
import gc
import sys

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


class Order:
    def __init__(self, number):
        self.number = number
        self.items = [number, [number + 1]]


orders = [Order(number) for number in range(400_000)]
if sys.argv[2] == "twin":
    gc.freeze()


async def collect_every_2_s():
    while True:
        await asyncio.sleep(2)
        gc.collect()


async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(REPLY)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await asyncio.gather(server.serve_forever(), collect_every_2_s())


asyncio.run(main(int(sys.argv[1])))
