// An HTTP server that works 80 ms on its index every 2 s.
//
// usage: node server.js PORT fault|twin
//
// fault: in the event loop, where nothing else can run in the meantime.
// twin:  the same function in a worker thread.
'use strict';
const http = require('http');
const {Worker, isMainThread} = require('worker_threads');

function rebuildIndex() {
  const until = Date.now() + 80;
  let index;
  while (Date.now() < until) index = JSON.parse(JSON.stringify([...Array(1000).keys()]));
  return index;
}

if (isMainThread) {
  const [port, variant] = process.argv.slice(2);
  if (variant === 'fault') setInterval(rebuildIndex, 2000);
  else new Worker(__filename);
  http.createServer((request, response) => response.end('hello\n')).listen(port, '127.0.0.1');
} else {
  setInterval(rebuildIndex, 2000);
}
