// An HTTP server that loads a new configuration every 2.5 s.
//
// usage: node server.js PORT fault|twin
//
// fault: closes its listening socket, and listens again 700 ms later.
// twin:  replaces the handler of requests; the socket stays.
'use strict';
const http = require('http');
const [port, variant] = process.argv.slice(2);

const server = http.createServer();
let version = 1;

function handle(request, response) {
  response.end(`version ${version}\n`);
}

function restart() {
  server.close();
  setTimeout(() => server.listen(port, '127.0.0.1'), 700);
}

function reload() {
  server.removeListener('request', handle);
  version++;
  server.on('request', handle);
}

server.on('request', handle);
server.listen(port, '127.0.0.1');
setInterval(variant === 'fault' ? restart : reload, 2500);
