-- The first answer brings a token, which the following requests send.
local token

function request()
  local headers = {}
  if token then headers["X-Token"] = token end
  return wrk.format("GET", token and "/with-token" or "/login", headers)
end

function response(status, headers)
  if not token and status == 200 then token = headers["X-Token"] end
end
