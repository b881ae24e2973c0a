-- A question to a DNS server, with a new number in each turn.
local question = '\1\0\0\1\0\0\0\0\0\0' .. '\3www\4test\0' .. '\0\1\0\1'

return function(client)
  local socket = client:udp()
  for _ in client:every('200ms') do
    local number = string.char(client:random(0, 255), client:random(0, 255))
    socket:send(number .. question)
    local answer = socket:recv{timeout = '1s'}
    client:check(answer and answer:sub(1, 2) == number and answer:sub(-4) == '\10\1\2\3',
                 'the answer has the number and the address')
  end
end
