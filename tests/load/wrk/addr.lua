-- Gives each thread one of the server's addresses.
local addresses

function setup(thread)
  if not addresses then
    addresses = wrk.lookup(wrk.host, wrk.port or "http")
    for i = #addresses, 1, -1 do
      if not wrk.connect(addresses[i]) then table.remove(addresses, i) end
    end
  end
  thread.addr = addresses[1]
end
