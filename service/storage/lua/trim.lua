-- Drop the oldest stream entries, and store the last dropped id: a cursor before it has a gap.
--
-- KEYS  1 stream  2 trimmed
-- ARGV  1 keep from this id on  2 cap  3 most to drop by a cap at once  4 cap in bytes, 0 for none
--       5 the cap in bytes drops nothing from this id on
-- Returns the numbers {dropped before the id, only because of the cap, only because of that in bytes}.

-- Drop what is before an id; with a count, the oldest so many up to an end as XRANGE takes it.
local function drop(min_id, count)
  local last
  if count then
    local first = redis.call('XRANGE', KEYS[1], '-', min_id, 'COUNT', count)
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

-- How many of the oldest entries are too many by their bytes. Redis samples the oldest nodes and the newest one,
-- so this is an estimate, which the next trim corrects.
local function excess(max_bytes)
  local length = redis.call('XLEN', KEYS[1])
  if max_bytes == 0 or length == 0 then return 0 end
  local bytes = redis.call('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 20)
  if bytes <= max_bytes then return 0 end
  return math.max(1, math.floor(length * (1 - max_bytes / bytes)))
end

local at_once = tonumber(ARGV[3])
local before = drop(ARGV[1])
local over = math.min(redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2]), at_once)
if over > 0 then over = drop('+', over) else over = 0 end
local heavy = math.min(excess(tonumber(ARGV[4])), at_once)
-- A group that has read nothing needs everything.
if ARGV[5] == '0-0' then heavy = 0 end
if heavy > 0 then heavy = drop('(' .. ARGV[5], heavy) end
return {before, over, heavy}
