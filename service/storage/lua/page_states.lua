-- Read of pages what their states are made of, in some shards.
--
-- KEYS  for each page, of each shard: its versions, its articles
-- ARGV  1 number of shards  then for each page 4: period, kind of its archive links ('' for none, `live`
--       or `day`), ms at which its day begins (of a live page: today), and ends
-- Returns for each page {its version in each shard, joined by '-' (empty where it has none), score of the
-- newest article before the day ('' without one), of the oldest article after it, or of a live page the
-- number of articles since the day began}.

local shards, k, answer = tonumber(ARGV[1]), 1, {}
for i = 2, #ARGV, 4 do
  local period, kind, start, stop = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local stamps, before, after, count = {}, '', '', 0
  for shard = 1, shards do
    stamps[shard] = redis.call('HGET', KEYS[k], period) or ''
    if kind ~= '' then
      local articles = KEYS[k + 1]
      local newest = redis.call('ZREVRANGEBYSCORE', articles, '(' .. start, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
      if newest and (before == '' or tonumber(newest) > tonumber(before)) then before = newest end
      if kind == 'live' then
        count = count + redis.call('ZCOUNT', articles, start, '+inf')
      else
        local oldest = redis.call('ZRANGEBYSCORE', articles, stop, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
        if oldest and (after == '' or tonumber(oldest) < tonumber(after)) then after = oldest end
      end
    end
    k = k + 2
  end
  answer[#answer + 1] = table.concat(stamps, '-')
  answer[#answer + 1] = before
  answer[#answer + 1] = kind == 'live' and count or after
end
return answer
