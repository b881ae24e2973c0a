// An HTTP server that asks another service for each request.
// usage: node server.js PORT DOWNSTREAM_PORT
'use strict';
const http = require('http');
const [port, downstream] = process.argv.slice(2);
const agent = new http.Agent({keepAlive: true});

http.createServer((request, response) => {
  http.get({host: '127.0.0.1', port: downstream, agent}, (answer) => answer.pipe(response));
}).listen(port, '127.0.0.1');
