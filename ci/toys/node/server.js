const http = require('http');

const WORK = 100000;
const DROP_EVERY = 0;

let requests = 0;
let sum = 0;
http.createServer((request, response) => {
  for (let i = 0; i < WORK; ++i) sum = (sum + i) % 1000003;
  requests += 1;
  if (DROP_EVERY && requests % DROP_EVERY === 0) request.socket.destroy();
  else response.end(`hello ${sum}\n`);
}).listen(8899, '127.0.0.1');
