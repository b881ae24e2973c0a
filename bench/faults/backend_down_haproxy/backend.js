// The server behind the proxy. usage: node backend.js PORT
'use strict';
const http = require('http');

const server = http.createServer((request, response) => response.end('hello\n'));
server.listen(process.argv[2], '127.0.0.1');
