-- Store the results of polls and the next due times, unless the due time of a source changed in the
-- meantime: it was removed or paused (no score), made due at once (an earlier score), or claimed by
-- another worker after the claim lapsed (a later score). Nothing is stored of a source whose settings
-- changed meanwhile, or a change of its category, which has the whole document read again, would be
-- undone by the validators of this poll. Nor if the server has been started again since the claim: it
-- may have lost what this poll appended, or those before it, and only a poll that knows less of its
-- document appends that once more. Safe to send twice.
--
-- KEYS  1 due  2 sources  3 polls  4 hosts  5 claims  6 known entries
-- ARGV  1 now (ms)  then for each poll 10: run of the server at the claim, id, host, ms when the claim lapses, poll, ms when it is
--       due ('' for never), source as it was claimed, changed source ('' if unchanged),
--       ms until when its host gets no request, known entries ('' to leave them as they are)
-- Returns the number of arguments.

local now, run = tonumber(ARGV[1]), server_run()
-- A wrong type fails the call before the first write.
redis.call('HLEN', KEYS[5])

local function release(name, id, spared)
  local host = read_host(KEYS[4], name)
  host.f[id] = nil
  host.n = math.max(host.n, spared)
  if next(host.f) or host.n > now then
    redis.call('HSET', KEYS[4], name, cjson.encode(host))
  else
    redis.call('HDEL', KEYS[4], name)
  end
end

for at = 2, #ARGV, 10 do
  local i = at + 1
  local id, lapse, due, before, after = ARGV[i], ARGV[i + 2], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local score = tonumber(redis.call('ZSCORE', KEYS[1], id) or nil)
  if score and score <= tonumber(lapse) then
    local stored = redis.call('HGET', KEYS[2], id)
    if ARGV[at] == run and (stored == before or stored == after) then
      local poll = ARGV[i + 3]
      local due_ms = tonumber(string.match(poll, '"due_ms":(%d+)') or nil)
      if score < tonumber(lapse) and due_ms and due_ms > score then
        -- It was made due at once for a poll, and not for what else it may be claimed for.
        poll = string.gsub(poll, '"due_ms":%d+', '"due_ms":' .. string.format('%d', score), 1)
      end
      redis.call('HSET', KEYS[3], id, poll)
      if after ~= '' then redis.call('HSET', KEYS[2], id, after) end
      if ARGV[i + 8] ~= '' then redis.pcall('HSET', KEYS[6], id, ARGV[i + 8]) end
    end
    if score == tonumber(lapse) then
      if due == '' then redis.call('ZREM', KEYS[1], id) else redis.call('ZADD', KEYS[1], due, id) end
    end
  end
  release(ARGV[i + 1], id, tonumber(ARGV[i + 7]))
  local claim = redis.call('HGET', KEYS[5], id)
  if claim and string.match(claim, '%d+$') == lapse then redis.call('HDEL', KEYS[5], id) end
end
return #ARGV
