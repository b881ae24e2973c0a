"""An HTTP server in asyncio that asks another service for its settings every 300 ms.

usage: server.py PORT SERVICE_PORT fault|twin

fault: by a call that blocks, in the event loop.
twin:  by the same call in a thread.
"""
import asyncio
import sys
from http.client import HTTPConnection

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


def read_settings(port):
    service = HTTPConnection("127.0.0.1", port)
    service.request("GET", "/settings")
    service.getresponse().read()
    service.close()


async def refresh_settings(port, variant):
    while True:
        await asyncio.sleep(0.3)
        if variant == "fault":
            read_settings(port)
        else:
            await asyncio.to_thread(read_settings, port)


async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(REPLY)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port, service_port, variant):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await asyncio.gather(server.serve_forever(), refresh_settings(service_port, variant))


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
