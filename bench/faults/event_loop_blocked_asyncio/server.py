"""An HTTP server in asyncio that hashes passwords for 80 ms every 2 s.

usage: server.py PORT fault|twin

fault: in the event loop, where nothing else can run in the meantime.
twin:  the same function in a thread (the hash releases the interpreter's lock).
"""
import asyncio
import hashlib
import sys
import time

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


def hash_passwords():
    until = time.monotonic() + 0.080
    while time.monotonic() < until:
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 10000)


async def hash_every_2_s(variant):
    while True:
        await asyncio.sleep(2)
        if variant == "fault":
            hash_passwords()
        else:
            await asyncio.to_thread(hash_passwords)


async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(REPLY)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port, variant):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await asyncio.gather(server.serve_forever(), hash_every_2_s(variant))


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
