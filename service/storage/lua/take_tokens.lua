-- Take tokens from buckets, from all of them or from none.
--
-- KEYS  a bucket each: the ms at which it is full again, nothing if it is
-- ARGV  1 now in ms
--       then for each bucket 3: ms until a token is refilled, tokens of a full bucket, tokens taken
-- Gives the ms until all of them have enough; 0 if the tokens were taken. An empty bucket is full
-- after its period: a caller whose clock is ahead must not make the others wait for longer.

local now, wait, full_at = tonumber(ARGV[1]), 0, {}

local function keep(key, moment)
  redis.call('SET', key, string.format('%.3f', moment), 'PX', math.ceil(moment - now))
end

for i, key in ipairs(KEYS) do
  local refill_ms = tonumber(ARGV[3 * i - 1])
  local size, cost = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local latest, stored = now + size * refill_ms, tonumber(redis.call('GET', key) or '0')
  if stored > latest then
    keep(key, latest)
    stored = latest
  end
  full_at[i] = math.max(stored, now) + cost * refill_ms
  wait = math.max(wait, full_at[i] - latest)
end
-- Sums of fractions are not exact.
if wait > 0.001 then return math.ceil(wait) end
for i, key in ipairs(KEYS) do
  if full_at[i] > now then keep(key, full_at[i]) end
end
return 0
