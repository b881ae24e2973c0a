// Scripts that were written for wrk: its table and functions, and the client that calls them.
//
// Facts of wrk (its SCRIPTING file): setup() runs once per thread before init(); request() gives
// the bytes of one request, or of several that are sent at once; response() has each response;
// delay() gives milliseconds to wait before a request; done() has the results.
#include <cmath>

#include <fmt/format.h>

#include "load/http/http.h"
#include "load/script/lua_guest.h"

namespace topspin {
namespace {

/// Makes the table `wrk`, and returns begin(setting), which makes the client's function, and
/// finish(summary, buckets). `count` counts the requests in bytes; `stop` ends the load.
constexpr std::string_view kWrkText = R"lua(
local host, port, path, authority, count, stop = ...
local concat, pairs, type, floor = table.concat, pairs, type, math.floor

wrk = { scheme = 'http', host = host, port = port, path = path, method = 'GET', headers = {} }

function wrk.format(method, path, headers, body)
  headers = headers or wrk.headers
  body = body or wrk.body
  local lines = { (method or wrk.method) .. ' ' .. (path or wrk.path) .. ' HTTP/1.1' }
  local has_host, has_length
  for name, value in pairs(headers) do
    lines[#lines + 1] = name .. ': ' .. value
    has_host = has_host or name:lower() == 'host'
    has_length = has_length or name:lower() == 'content-length'
  end
  if not has_host then lines[#lines + 1] = 'Host: ' .. (wrk.headers['Host'] or authority) end
  if body and not has_length then lines[#lines + 1] = 'Content-Length: ' .. #body end
  return concat(lines, '\r\n') .. '\r\n\r\n' .. (body or '')
end

-- wrk calls this, and it calls the script's init(). A script whose init() calls it gets the rest.
local is_in_init, has_init
function wrk.init(arguments)
  if not wrk.headers['Host'] then wrk.headers['Host'] = authority end
  if has_init and not is_in_init then
    is_in_init = true
    init(arguments)
    is_in_init = false
  end
  local formatted = wrk.format()
  wrk.request = function() return formatted end
end

function wrk.lookup() return { authority } end
function wrk.connect() return true end

local thread = { addr = authority }
function thread:get(name) return _G[name] end
function thread:set(name, value) _G[name] = value end
function thread:stop() stop() end

local function begin(arguments, period, defined)
  if defined.setup then setup(thread) end
  wrk.thread = thread
  has_init = defined.init
  wrk.init(arguments)
  local request = defined.request and request or wrk.request
  local response = defined.response and response
  local delay = defined.delay and delay
  local wish = { http = response and 'whole' or 'status' }
  local wish_to_head = { http = wish.http, head = true }

  return function(client)
    local socket, last, requests, is_head
    local function exchange()
      if not socket or not socket:is_open() then socket = client:tcp() end
      if not socket:is_open() then return false end
      local bytes = request()
      if bytes ~= last then
        last, requests, is_head = bytes, count(bytes), bytes:sub(1, 5) == 'HEAD '
      end
      if not socket:send(bytes) then return false end
      for i = 1, requests do
        local status, keeps, headers, body = socket:recv(is_head and wish_to_head or wish)
        if not status then
          socket:close()
          return false
        end
        if response then response(status, headers, body) end
        if not keeps then
          socket:close()
          if i < requests then
            client:fail('closed by the server')
            return false
          end
        end
      end
      return true
    end
    if period then
      for _ in client:every(period) do
        if delay then client:sleep(delay() / 1000) end
        exchange()
      end
      return
    end
    while true do
      if delay then client:sleep(delay() / 1000) end
      -- A server that refuses is not asked as fast as it can refuse.
      if not client:step('request', exchange) then client:sleep(0.01) end
    end
  end
end

local function finish(summary, buckets, samples)
  if type(done) ~= 'function' then return end
  local latency = { min = samples.min, max = samples.max, mean = samples.mean,
                    stdev = samples.stdev }
  function latency:percentile(percent)
    local rank, seen = percent / 100 * samples.count, 0
    for i = 1, #buckets do
      seen = seen + buckets[i][2]
      if seen >= rank then return buckets[i][1] end
    end
    return samples.max
  end
  setmetatable(latency, {
    __call = function(_, i) return buckets[i][1], buckets[i][2] end,
    __len = function() return #buckets end,
  })
  local rate = summary.requests / (summary.duration / 1000000)
  local rates = { min = rate, max = rate, mean = rate, stdev = 0 }
  function rates:percentile() return rate end
  setmetatable(rates, { __call = function() return rate, 1 end, __len = function() return 1 end })
  done(summary, latency, rates)
end

return begin, finish
)lua";

/// How many whole requests the bytes are; none if they end in the middle of one.
int count_requests(std::string_view bytes) {
  struct Count {
    int whole = 0;
    bool is_open = false;
  } count;
  http_parser parser;
  http_parser_init(&parser, HTTP_REQUEST);
  parser.data = &count;
  http_parser_settings settings;
  http_parser_settings_init(&settings);
  settings.on_message_begin = [](http_parser* p) {
    static_cast<Count*>(p->data)->is_open = true;
    return 0;
  };
  settings.on_message_complete = [](http_parser* p) {
    auto& counted = *static_cast<Count*>(p->data);
    counted.is_open = false;
    ++counted.whole;
    return 0;
  };
  const size_t parsed = http_parser_execute(&parser, &settings, bytes.data(), bytes.size());
  return parsed == bytes.size() && !count.is_open ? count.whole : 0;
}

int wrk_count(lua_State* state) {
  size_t length = 0;
  const char* bytes = luaL_checklstring(state, 1, &length);
  const int requests = count_requests({bytes, length});
  if (requests == 0) return luaL_error(state, "request() did not return whole HTTP requests");
  lua_pushinteger(state, requests);
  return 1;
}

void set_number(lua_State* state, const char* name, double number) {
  lua_pushnumber(state, number);
  lua_setfield(state, -2, name);
}

}  // namespace

/// Leaves begin and finish in the registry. Called before the file runs.
Status LuaGuest::add_wrk(const LoadOptions& options) {
  const auto parts = split_target(options.target);
  lua_State* const state = lua_->get();
  TOPSPIN_TRY(lua_->compile(kWrkText, "[wrk]"));
  lua_pushstring(state, parts.ok() ? parts->host.c_str() : "");
  if (parts.ok())
    lua_pushinteger(state, parts->port);
  else
    lua_pushnil(state);
  lua_pushstring(state, parts.ok() && !parts->path.empty() ? parts->path.c_str() : "/");
  lua_pushstring(state, parts.ok() ? parts->host_header().c_str() : "");
  lua_pushcfunction(state, wrk_count);
  lua_pushlightuserdata(state, this);
  lua_pushcclosure(
      state,
      [](lua_State* s) {
        guest_of(s).clients_.stop_load();
        return 0;
      },
      1);
  TOPSPIN_TRY(lua_->call(6, 2));
  wrk_finish_ = luaL_ref(state, LUA_REGISTRYINDEX);
  wrk_begin_ = luaL_ref(state, LUA_REGISTRYINDEX);
  return {};
}

/// Whether the file that has run is a script of wrk. It then makes the client's function.
Result<bool> LuaGuest::begin_wrk(const LoadOptions& options) {
  lua_State* const state = lua_->get();
  constexpr std::array kFunctions = {"setup", "init", "delay", "request", "response", "done"};
  lua_rawgeti(state, LUA_REGISTRYINDEX, wrk_begin_);
  // init() has the target at 0, and the arguments from 1 on.
  lua_newtable(state);
  lua_pushlstring(state, options.target.data(), options.target.size());
  lua_rawseti(state, -2, 0);
  int arguments = 0;
  for (std::string_view rest = options.script_arguments; !rest.empty();) {
    const size_t space = std::min(rest.find(' '), rest.size());
    if (space > 0) {
      lua_pushlstring(state, rest.data(), space);
      lua_rawseti(state, -2, ++arguments);
    }
    rest.remove_prefix(std::min(space + 1, rest.size()));
  }
  if (options.script_period_ns)
    lua_pushnumber(state, static_cast<double>(*options.script_period_ns) / 1e9);
  else
    lua_pushnil(state);
  lua_newtable(state);
  bool is_wrk = options.script_text.find("wrk.") != std::string::npos;
  for (const char* name : kFunctions) {
    lua_getglobal(state, name);
    const bool is_defined = lua_isfunction(state, -1);
    lua_pop(state, 1);
    is_wrk = is_wrk || is_defined;
    lua_pushboolean(state, is_defined ? 1 : 0);
    lua_setfield(state, -2, name);
  }
  if (!is_wrk) {
    lua_pop(state, 4);
    return false;
  }
  if (const auto parts = split_target(options.target); parts.ok() && parts->is_tls)
    return make_error(ErrorCode::kUsage, "scripts of wrk are run over http:// only");
  TOPSPIN_TRY(lua_->call(3, 1));
  return true;
}

void LuaGuest::finish(const LoadResult& result) {
  if (!is_wrk_ || !result.script) return;
  lua_State* const state = lua_->get();
  const auto failures = [&](std::initializer_list<const char*> reasons) {
    uint64_t sum = 0;
    for (const char* reason : reasons) {
      const auto found = result.script->failures.find(reason);
      if (found != result.script->failures.end()) sum += found->second;
    }
    return static_cast<double>(sum);
  };
  uint64_t responses = 0, bad_statuses = 0;
  if (result.http) {
    for (const auto& [status, count] : result.http->statuses) {
      responses += count;
      if (status > 399) bad_statuses += count;
    }
  }
  lua_rawgeti(state, LUA_REGISTRYINDEX, wrk_finish_);
  lua_newtable(state);
  set_number(state, "duration", static_cast<double>(result.own.wall_ns) / 1e3);
  set_number(state, "requests", static_cast<double>(responses));
  set_number(state, "bytes", static_cast<double>(result.bytes_received));
  lua_newtable(state);
  set_number(state, "connect", failures({"refused"}));
  set_number(state, "read",
             failures({"reset by the server", "closed by the server", "truncated", "not HTTP"}));
  set_number(state, "write", 0);
  set_number(state, "status", static_cast<double>(bad_statuses));
  set_number(state, "timeout", failures({"timeout"}));
  lua_setfield(state, -2, "errors");
  const Histogram& latency = result.total.latency_actual;
  lua_newtable(state);
  int bucket = 0;
  double squares = 0;
  const double mean_ns = latency.count() == 0 ? 0
                                              : static_cast<double>(latency.sum()) /
                                                    static_cast<double>(latency.count());
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    const uint64_t count = latency.cell(i);
    if (count == 0) continue;
    const double value_ns = static_cast<double>(histogram_bucket_max(i));
    squares += static_cast<double>(count) * (value_ns - mean_ns) * (value_ns - mean_ns);
    lua_createtable(state, 2, 0);
    lua_pushnumber(state, value_ns / 1e3);
    lua_rawseti(state, -2, 1);
    lua_pushnumber(state, static_cast<double>(count));
    lua_rawseti(state, -2, 2);
    lua_rawseti(state, -2, ++bucket);
  }
  lua_newtable(state);
  set_number(state, "count", static_cast<double>(latency.count()));
  set_number(state, "min", static_cast<double>(latency.min().value_or(0)) / 1e3);
  set_number(state, "max", static_cast<double>(latency.max().value_or(0)) / 1e3);
  set_number(state, "mean", mean_ns / 1e3);
  set_number(
      state, "stdev",
      latency.count() == 0 ? 0 : std::sqrt(squares / static_cast<double>(latency.count())) / 1e3);
  if (const Status done = lua_->call(3, 0); !done.ok())
    clients_.printed(fmt::format("done() failed: {}", done.error().message));
}

}  // namespace topspin
