-- Note what all webhooks of a partition need.
--
-- KEYS  1 webhooks of the partition  2 needed  then for each webhook 2: endpoint, replays
-- ARGV  1 partition  2… ids of the webhooks
-- Returns 1; 0, without a note, if there are other webhooks now.

if redis.call('HLEN', KEYS[1]) ~= #ARGV - 1 then return 0 end
local needed = {}
for i = 2, #ARGV do
  local settings = redis.call('HGET', KEYS[1], ARGV[i])
  if not settings then return 0 end
  add_needs(needed, settings, KEYS[2 * i - 1], KEYS[2 * i])
end
write_needs(KEYS[2], ARGV[1], needed)
return 1
