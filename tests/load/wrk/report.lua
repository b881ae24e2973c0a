-- The results, in lines of its own.
function done(summary, latency, requests)
  io.write(string.format("requests %d\n", summary.requests))
  io.write(string.format("errors %d %d %d %d %d\n", summary.errors.connect, summary.errors.read,
                         summary.errors.write, summary.errors.status, summary.errors.timeout))
  for _, percent in ipairs({ 50, 90, 99 }) do
    io.write(string.format("p%d %d\n", percent, latency:percentile(percent)))
  end
  io.write(string.format("mean %.0f stdev %.0f\n", latency.mean, latency.stdev))
end
