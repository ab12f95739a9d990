-- Settle deliveries: store cursors, retries and logs of attempts.
--
-- KEYS  1 operations of this shard  2 counters of it  3… for each lease its epoch
--       then for each ack 5: the registry that its endpoint must be in, endpoint, attempts,
--       dead letters, replays
-- ARGV  1 cap of the attempts  2 of the dead letters  3 of the operations
--       then lists, each with its length before it: counters, in pairs of name and amount; epochs
--       that the caller holds;
--       then for each ack: endpoint id, number of its lease, the finished replay or nothing,
--       and 5 lists, in pairs: fields to set, fields to remove if they still have that value, attempt,
--       dead letter, event for the operations stream
-- Returns for each ack 1, -1 if the endpoint was removed, 0 if the lease has changed hands.

local at = 3
local function list()
  at = at + 1
  local first, last = at + 1, at + tonumber(ARGV[at])
  at = last
  local values = {}
  for i = first, last do values[#values + 1] = ARGV[i] end
  return values
end

local counters, epochs = list(), list()
-- All types first: a script that fails midway leaves what it wrote before.
for key = 3 + #epochs, #KEYS, 5 do
  redis.call('HLEN', KEYS[key])
  redis.call('HLEN', KEYS[key + 1])
  redis.call('XLEN', KEYS[key + 2])
  redis.call('XLEN', KEYS[key + 3])
  redis.call('LLEN', KEYS[key + 4])
end
for i = 1, #counters, 2 do redis.pcall('HINCRBY', KEYS[2], counters[i], counters[i + 1]) end
local holds = {}
for i, epoch in ipairs(epochs) do holds[i] = redis.call('GET', KEYS[2 + i]) == epoch end

local done = {}
for key = 3 + #epochs, #KEYS, 5 do
  local registry, endpoint, attempts = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  local dead, replays = KEYS[key + 3], KEYS[key + 4]
  local id, lease, over = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  at = at + 3
  local set, unset, attempt, letter, event = list(), list(), list(), list(), list()
  if not holds[lease] then
    done[#done + 1] = 0
  elseif redis.call('HEXISTS', registry, id) == 0 then
    done[#done + 1] = -1
  else
    if #set > 0 then redis.call('HSET', endpoint, unpack(set)) end
    for i = 1, #unset, 2 do
      if redis.call('HGET', endpoint, unset[i]) == unset[i + 1] then redis.call('HDEL', endpoint, unset[i]) end
    end
    if over ~= '' then redis.call('LREM', replays, 1, over) end
    if #attempt > 0 then redis.call('XADD', attempts, 'MAXLEN', '=', ARGV[1], '*', unpack(attempt)) end
    if #letter > 0 then redis.call('XADD', dead, 'MAXLEN', '=', ARGV[2], '*', unpack(letter)) end
    if #event > 0 then redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', unpack(event)) end
    done[#done + 1] = 1
  end
end
return done
