"""More servers of bench/plans on Python's asyncio. usage: web.py ROLE PORT [CERTIFICATE KEY] (roles as in c/web.c)"""
import asyncio
import json
import socket
import ssl
import sys


def reply(status, body=b"", more=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), more, body)


def add_up(line, headers, body):
    try:
        request = json.loads(body)
        answer = {"name": request["name"], "count": len(request["items"]), "sum": sum(request["items"])}
    except (ValueError, KeyError, TypeError):
        return reply(b"400 Bad Request")
    return reply(b"200 OK", json.dumps(answer).encode(), b"Content-Type: application/json\r\n")


def log_in(line, headers, body):
    if line.startswith(b"POST /login "):
        try:
            return reply(b"200 OK", b"", b"X-Token: token-of-%s\r\n" % json.loads(body)["user"].encode())
        except (ValueError, KeyError, TypeError):
            return reply(b"400 Bad Request")
    if line.startswith(b"GET /account ") and headers.get(b"x-token", b"").startswith(b"token-of-"):
        return reply(b"200 OK", b"ok")
    return reply(b"403 Forbidden")


def hello(line, headers, body):
    return reply(b"200 OK", b"Hello, world\n")


class Http(asyncio.Protocol):
    def __init__(self, answer):
        self.answer, self.buffer = answer, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            line, *lines = self.buffer[:end].split(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(b":") for each in lines)}
            last = end + 4 + int(headers.get(b"content-length", 0))
            if len(self.buffer) < last:
                return
            body, self.buffer = self.buffer[end + 4:last], self.buffer[last:]
            self.transport.write(self.answer(line, headers, body))
            if headers.get(b"connection", b"").lower() == b"close":
                return self.transport.close()


async def main(role, port, *files):
    context = None
    if role == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    answer = {"json": add_up, "login": log_in, "tls": hello}[role]
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    await asyncio.get_running_loop().create_server(lambda: Http(answer), sock=listener, backlog=4096, ssl=context)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
