-- Each user logs in, and asks for a page with the token that came back.
return function(client)
  local user = client:data('users.csv'):next()
  for _ in client:every('250ms') do
    local token = client:step('log in', function()
      local answer = client:http{
        method = 'POST', path = '/login',
        headers = { ['Content-Type'] = 'application/json' },
        body = '{"user": "' .. user.name .. '"}',
      }
      return answer and answer.headers['x-token']
    end)
    if client:check(token, 'there is a token') then
      client:step('ask', function()
        local answer = client:http{ path = '/with-token', headers = { ['X-Token'] = token } }
        client:check(answer and answer.body == 'ok', 'the page is the right one')
      end)
    end
  end
end
