// An HTTP server with a cache of rendered pages of 64 KB.
//
// usage: node server.js PORT fault|twin
//
// fault: every request has its own key, so the cache only grows.
// twin:  there are 100 keys, so the cache fills in the first second, and stays.
//
// Both collect garbage once a second: what V8 has not collected yet looks like a leak from outside.
'use strict';
const http = require('http');
const [port, variant] = process.argv.slice(2);

const cache = new Map();
let requests = 0;

setInterval(() => gc(), 1000);
http.createServer((request, response) => {
  const key = variant === 'fault' ? requests++ : requests++ % 100;
  if (!cache.has(key)) cache.set(key, Buffer.alloc(65536, 'x'));
  response.end('hello\n');
}).listen(port, '127.0.0.1');
