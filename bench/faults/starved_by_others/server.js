// An HTTP server in one line. What starves it runs beside it: see fault.toml.
require('http').createServer((request, response) => response.end('hello\n')).listen(process.argv[2], '127.0.0.1');
