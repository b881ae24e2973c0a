-- Two commands to redis in each turn, over a connection that is kept.
return function(client)
  local redis = client:tcp()
  local key = 'user:' .. client.id
  for turn in client:every('200ms') do
    client:step('SET', function()
      redis:send('SET ' .. key .. ' ' .. turn .. '\r\n')
      client:check(redis:recv{line = true} == '+OK', 'it is stored')
    end)
    client:step('GET', function()
      redis:send('GET ' .. key .. '\r\n')
      local length = redis:recv{line = true}
      if not length then return end
      client:check(length == '$' .. #tostring(turn), 'the length is that of the value')
      client:check(redis:recv{line = true} == tostring(turn), 'the value is the stored one')
    end)
  end
end
