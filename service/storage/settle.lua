-- Settle one delivery step of a webhook: move its cursor or note its failure, and log the attempt.
--
-- KEYS  1 epoch of the lease  2 endpoint  3 attempts  4 endpoints
-- ARGV  1 epoch that the caller holds  2 webhook id  3 cap of the attempt log
--       4 number of state fields s, then s pairs; then pairs of the attempt's record, if any
-- Gives 1; 0 if the lease has changed hands; -1 if the webhook was removed. Neither writes then.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('HEXISTS', KEYS[4], ARGV[2]) == 0 then return -1 end
redis.call('HLEN', KEYS[2])
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if #ARGV > last then
  local record = {}
  for i = last + 1, #ARGV do record[#record + 1] = ARGV[i] end
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', unpack(record))
end
return 1
