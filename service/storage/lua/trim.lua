-- Drop the oldest stream entries, and store the last dropped id: a cursor before it has a gap.
--
-- KEYS  1 stream  2 trimmed  ARGV  1 keep from this id on  2 cap  3 most to drop by the cap at once
-- Returns {number dropped before the id, number dropped only because of the cap}.

local function drop(min_id, count)
  local last
  if count then
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', count)
    last = first[#first] and first[#first][1]
  elseif min_id ~= '0-0' then
    local newest = redis.call('XREVRANGE', KEYS[1], '(' .. min_id, '-', 'COUNT', 1)
    last = newest[1] and newest[1][1]
  end
  if not last then return 0 end
  redis.call('SET', KEYS[2], last)
  -- All up to and including the last.
  local dropped = redis.call('XTRIM', KEYS[1], 'MINID', '=', last)
  return dropped + redis.call('XDEL', KEYS[1], last)
end

local before = drop(ARGV[1])
local over = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2])
if over <= 0 then return {before, 0} end
return {before, drop(nil, math.min(over, tonumber(ARGV[3])))}
