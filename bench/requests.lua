-- For wrk: the requests of a file in turn, one head a line, and a summary that a program can read.

local requests = {}
local next_request = 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    requests[#requests + 1] = line:gsub("|", "\r\n") .. "\r\n\r\n"
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\nsummary requests=%d micros=%d refused=%d broken=%d p50=%d p99=%d\n",
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
