// An HTTP server that says hello. What starves it runs beside it: see fault.toml.
// usage: node server.js PORT
'use strict';
const http = require('http');

http.createServer((request, response) => response.end('hello\n')).listen(process.argv[2], '127.0.0.1');
