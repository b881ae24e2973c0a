// A service that answers after MS milliseconds (0: at once). usage: node downstream.js PORT MS
'use strict';
const http = require('http');
const [port, ms] = process.argv.slice(2).map(Number);

http.createServer((request, response) => {
  if (ms === 0) response.end('42\n');
  else setTimeout(() => response.end('42\n'), ms);
}).listen(port, '127.0.0.1');
