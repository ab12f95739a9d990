-- Share leases fairly among all live callers: their shares differ by one lease at most.
--
-- KEYS  1 members, a sorted set: token of a caller → ms at which it counts as dead
--       then for each lease 2: lease, epoch
-- ARGV  1 token  2 ttl ms, 0 to leave  3 most leases to take that the caller does not hold yet
--       4 number of these leases among several such groups: the members that have one lease more
--       are others in each  5… for each lease the epoch that the caller holds, 0 if none
-- Returns the number of leases in the caller's share, then for each lease its epoch, 0 if the caller
-- does not hold it. A lapsed lease whose epoch is still the caller's keeps that epoch.

local token, ttl = ARGV[1], tonumber(ARGV[2])
local leases = (#KEYS - 1) / 2

if ttl == 0 then
  redis.call('ZREM', KEYS[1], token)
  for i = 1, leases do
    if redis.call('GET', KEYS[2 * i]) == token then redis.call('DEL', KEYS[2 * i]) end
  end
  return {0}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ttl, token)
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
local fair, more, rank = math.floor(leases / #members), leases % #members, 0
for i, member in ipairs(members) do
  if member == token then rank = i - 1 end
end
if (rank + tonumber(ARGV[4]) * more) % #members < more then fair = fair + 1 end

local answer, count, free = {fair}, 0, {}
for i = 1, leases do
  local holder = redis.call('GET', KEYS[2 * i])
  local epoch = redis.call('GET', KEYS[2 * i + 1]) or '0'
  answer[i + 1] = 0
  if ARGV[i + 4] ~= '0' and epoch == ARGV[i + 4] and (not holder or holder == token) then
    redis.call('SET', KEYS[2 * i], token, 'PX', ttl)
    answer[i + 1] = tonumber(epoch)
    count = count + 1
  elseif not holder or holder == token then
    free[#free + 1] = i
  end
end
for taken, i in ipairs(free) do
  if count >= fair or taken > tonumber(ARGV[3]) then break end
  answer[i + 1] = redis.call('INCR', KEYS[2 * i + 1])
  redis.call('SET', KEYS[2 * i], token, 'PX', ttl)
  count = count + 1
end
return answer
