-- Waits up to 20 ms before each request.
function delay()
  return math.random(1, 20)
end
