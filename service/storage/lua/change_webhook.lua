-- Change a webhook: its settings, fields of its state, the replays that wait. What it needs of the
-- event streams is noted in the same step, so that no event that it is to get is trimmed.
--
-- KEYS  1 webhooks of the partition  2 endpoint  3 replays  4 needed  5 changes
-- ARGV  1 id  2 partition  3 cap of the changes  4 cap of the replays
--       5 settings as they were: nothing for any, `-` for a webhook that is new
--       6 new settings, or nothing  7 number of the following texts that are fields of the state, in
--       pairs; the rest are replays
-- Returns 1; 0 if the settings have changed since, or the webhook is gone; -1 if there would be too
-- many replays.

local id = ARGV[1]
local stored = redis.call('HGET', KEYS[1], id)
if ARGV[5] == '' then
  if not stored then return 0 end
elseif ARGV[5] ~= '-' and stored ~= ARGV[5] then
  return 0
end
local last = 7 + tonumber(ARGV[7])
local added = #ARGV - last
if added > 0 and redis.call('LLEN', KEYS[3]) + added > tonumber(ARGV[4]) then return -1 end
for i = 8, last, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('RPUSH', KEYS[3], ARGV[i]) end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], id, ARGV[6]) end
lower_note(KEYS[4], ARGV[2], redis.call('HGET', KEYS[1], id), KEYS[2], KEYS[3])
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[3], '*', 'id', id)
return 1
