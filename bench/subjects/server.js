// The servers of bench/plans on Node. usage: node server.js ROLE PORT (roles as in c/server.c)
'use strict';
const [role, port] = [process.argv[2], Number(process.argv[3])];

if (role === 'udp') {
  const socket = require('dgram').createSocket('udp4');
  socket.on('message', (message, peer) => socket.send(message, peer.port, peer.address));
  socket.bind(port, '127.0.0.1');
} else if (role === 'http') {
  require('http').createServer((request, response) => {
    response.writeHead(200, { 'Content-Length': 13 });
    response.end('Hello, world\n');
  }).listen(port, '127.0.0.1', 4096);
} else {
  const leak = role === 'accept-leak';
  const kept = [];
  require('net').createServer({ allowHalfOpen: leak, pauseOnConnect: leak }, (connection) => {
    connection.on('error', () => {});
    if (leak) kept.push(connection);  // is never read: it never sees the peer's end, and stays open
    connection.end('hello');
  }).listen({ port, host: '127.0.0.1', backlog: 4096 });
}
