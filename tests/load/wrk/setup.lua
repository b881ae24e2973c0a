-- A number for each thread, which counts its own requests and responses.
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("id", #threads)
end

function init(args)
  asked = 0
  answered = 0
  print("thread " .. id .. " begins with " .. #args .. " arguments")
end

function request()
  asked = asked + 1
  return wrk.request()
end

function response()
  answered = answered + 1
end

function done()
  for _, thread in ipairs(threads) do
    print(string.format("thread %d asked %d answered %d", thread:get("id"), thread:get("asked"),
                        thread:get("answered")))
  end
end
