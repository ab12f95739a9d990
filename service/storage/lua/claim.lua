-- Claim due sources whose hosts may get a request now. One worker gets each source; if that worker
-- dies, the source becomes due again. A source whose host is busy is postponed to a time of its own,
-- so that the following calls do not examine it repeatedly. Safe to send twice: what a call has
-- claimed is recognised by its worker and its time, and returned again.
--
-- KEYS  1 due  2 sources  3 polls  4 hosts  5 claims  6 known entries
-- ARGV  1 now (ms)  2 maximum number of claims  3 ms when an unfinished claim is due again
--       4 ms between two requests to one host  5 concurrent requests to one host  6 worker
-- Returns {ms when the next source is due or '', run of the server, id, source, poll or '', known entries
-- or '', id, …}.

local now, limit, lapse = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local spacing, at_once = tonumber(ARGV[4]), tonumber(ARGV[5])
local hosts, postponed, answer = {}, {}, {'', server_run()}

local function host_of(name)
  if not hosts[name] then
    local host = read_host(KEYS[4], name)
    local busy = 0
    for id, until_ms in pairs(host.f) do
      if until_ms > now then busy = busy + 1 else host.f[id] = nil end
    end
    host.busy = busy
    hosts[name] = host
  end
  return hosts[name]
end

local function turn(name, host)
  local number = postponed[name] or 0
  postponed[name] = number + 1
  if host.busy < at_once then return host.n + number * spacing end
  -- It is unknown when one of its requests ends.
  return math.max(host.n, now) + (number + 1) * math.max(spacing, 50)
end

local function add(id, source)
  answer[#answer + 1] = id
  answer[#answer + 1] = source
  answer[#answer + 1] = redis.call('HGET', KEYS[3], id) or ''
  -- They only save work: where a hand has made the key another type, all works without them.
  local known = redis.pcall('HGET', KEYS[6], id)
  answer[#answer + 1] = type(known) == 'string' and known or ''
end

-- A wrong type fails the call before the first write.
redis.call('HLEN', KEYS[5])
local claimed = ARGV[6] .. ' ' .. ARGV[3]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], lapse, lapse)) do
  local source = redis.call('HGET', KEYS[2], id)
  if source and redis.call('HGET', KEYS[5], id) == claimed then add(id, source) end
end

local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit * 4)
for _, id in ipairs(ids) do
  local source = redis.call('HGET', KEYS[2], id)
  local name = source and string.match(source, '"host":"(.-)"') or ''
  local host = host_of(name)
  if not source then
    redis.call('ZREM', KEYS[1], id)
  elseif host.f[id] then
    redis.call('ZADD', KEYS[1], now + 1000, id)
  elseif host.n > now or host.busy >= at_once then
    redis.call('ZADD', KEYS[1], turn(name, host), id)
  else
    host.f[id], host.n, host.busy = lapse, now + spacing, host.busy + 1
    redis.call('ZADD', KEYS[1], lapse, id)
    redis.call('HSET', KEYS[4], name, cjson.encode({n = host.n, f = host.f}))
    redis.call('HSET', KEYS[5], id, claimed)
    add(id, source)
    if #answer > limit * 4 then break end
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if first[2] then answer[1] = first[2] end
return answer
