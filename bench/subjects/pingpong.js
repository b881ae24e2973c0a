// UDP ping-pong on Node. usage: node pingpong.js server PORT | swarm PORT CLIENTS SECONDS
'use strict';
const dgram = require('dgram');

const [role, port, clients, seconds] = [process.argv[2], ...process.argv.slice(3).map(Number)];
let sent = 0;
let received = 0;

function server() {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (message, peer) => socket.send('PONG', peer.port, peer.address));
  socket.bind(port, '127.0.0.1');
}

// Sends, waits for the answer, sleeps a second, sends again.
function client() {
  const socket = dgram.createSocket('udp4');
  const ping = () => { socket.send('PING'); sent++; };
  socket.on('message', () => { received++; setTimeout(ping, 1000); });
  socket.connect(port, '127.0.0.1', ping);
}

if (role === 'server') {
  server();
} else {
  for (let i = 0; i < clients; i++) setTimeout(client, i * 1000 / clients);  // joins within the first second
  setTimeout(() => { console.log(`swarm: ${clients} clients sent ${sent}, received ${received}`); process.exit(0); },
             seconds * 1000);
}
