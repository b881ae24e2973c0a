-- 15,000 clients: each sends one ping per second, and waits for its answer.
return function(client)
  local socket = client:udp()
  for _ in client:every('1s') do
    socket:send('PING')
    local answer = socket:recv{timeout = '1s'}
    client:check(answer and #answer == 4, 'the answer has 4 bytes')
  end
end
