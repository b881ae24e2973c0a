// An HTTP server that says hello. Other programs on its CPU starve it: see fault.toml.
// usage: node server.js PORT
'use strict';
const http = require('http');

const server = http.createServer((request, response) => response.end('hello\n'));
server.listen(process.argv[2], '127.0.0.1');
