-- Of login.toml: each user logs in, and asks for the account with the token that came back.
return function(client)
  local user = 'user-' .. client:random(1000)
  for _ in client:every('400ms') do
    local token = client:step('log in', function()
      local answer = client:http{
        method = 'POST', path = '/login',
        headers = { ['Content-Type'] = 'application/json' },
        body = '{"user": "' .. user .. '"}',
      }
      return answer and answer.headers['x-token']
    end)
    if client:check(token == 'token-of-' .. user, 'the token is the right one') then
      client:step('ask', function()
        local answer = client:http{ path = '/account', headers = { ['X-Token'] = token } }
        client:check(answer and answer.body == 'ok', 'the account is there')
      end)
    end
  end
end
