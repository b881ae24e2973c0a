-- A path and a header that change with each request.
local number = 0

function request()
  number = number + 1
  wrk.headers["X-Number"] = number
  return wrk.format(nil, "/" .. number)
end
