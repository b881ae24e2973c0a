-- Three requests at once.
function init()
  local requests = {}
  for i = 1, 3 do requests[i] = wrk.format("GET", "/part" .. i) end
  together = table.concat(requests)
end

function request()
  return together
end
