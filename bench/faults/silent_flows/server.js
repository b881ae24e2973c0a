// A UDP server with a session for each client. After 3 s it cleans up, and keeps 600 sessions.
//
// usage: node server.js PORT fault|twin
//
// fault: no new sessions after that: a client without one is not answered.
// twin:  a client without a session gets a new one with its next ping.
'use strict';
const dgram = require('dgram');
const [port, variant] = process.argv.slice(2);

const sessions = new Map();
let closed = false;

function cleanUp() {
  for (const client of [...sessions.keys()].slice(600)) sessions.delete(client);
  closed = variant === 'fault';
}

const socket = dgram.createSocket('udp4');
socket.on('message', (message, {address, port}) => {
  const client = `${address}:${port}`;
  if (!sessions.has(client)) {
    if (closed) return;
    if (sessions.size === 0) setTimeout(cleanUp, 3000);
    sessions.set(client, {pings: 0});
  }
  sessions.get(client).pings++;
  socket.send(message, port, address);
});
socket.bind(port, '127.0.0.1');
