// More servers of bench/plans on Node. usage: node web.js ROLE PORT [CERTIFICATE KEY] (roles as in
// c/web.c; and h2: as tls, over HTTP/2)
'use strict';
const fs = require('fs');
const [role, port] = [process.argv[2], Number(process.argv[3])];

function withBody(request, then) {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => then(Buffer.concat(parts).toString()));
}

function end(response, status, body, headers = {}) {
  response.writeHead(status, { 'Content-Length': Buffer.byteLength(body), ...headers });
  response.end(body);
}

const roles = {
  json(request, response) {
    withBody(request, (body) => {
      try {
        const { name, items } = JSON.parse(body);
        const sum = items.reduce((total, item) => total + item, 0);
        const answer = JSON.stringify({ name, count: items.length, sum });
        end(response, 200, answer, { 'Content-Type': 'application/json' });
      } catch (error) {
        end(response, 400, '');
      }
    });
  },
  login(request, response) {
    if (request.method === 'POST' && request.url === '/login') {
      withBody(request, (body) => {
        try {
          end(response, 200, '', { 'X-Token': 'token-of-' + JSON.parse(body).user });
        } catch (error) {
          end(response, 400, '');
        }
      });
    } else if (request.method === 'GET' && request.url === '/account' &&
               (request.headers['x-token'] || '').startsWith('token-of-')) {
      end(response, 200, 'ok');
    } else {
      end(response, 403, '');
    }
  },
  tls: (request, response) => end(response, 200, 'Hello, world\n'),
};
roles.h2 = roles.tls;

const secret = () => ({ cert: fs.readFileSync(process.argv[4]), key: fs.readFileSync(process.argv[5]) });
const server = role === 'tls' ? require('https').createServer(secret(), roles.tls)
  : role === 'h2' ? require('http2').createSecureServer(secret(), roles.h2)
    : require('http').createServer(roles[role]);
server.listen(port, '127.0.0.1', 4096);
