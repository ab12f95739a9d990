-- What webhooks need of the event streams: stream shard → the cursor after which entries are needed.
-- As text, in a field of the hash `needed`: `shard:cursor`, with spaces between several.

local function is_before(a, b)
  -- Ids are `ms-seq`; a sequence may be too large for a number.
  for _, part in ipairs({'^(%d+)', '^%d+-(%d+)'}) do
    local x, y = string.match(a, part) or '0', string.match(b, part) or '0'
    if #x ~= #y then return #x < #y end
    if x ~= y then return x < y end
  end
  return false
end

local function need(needed, shard, id)
  if not string.match(id, '^%d+') then return end
  if not needed[shard] or is_before(id, needed[shard]) then needed[shard] = id end
end

-- What one webhook needs: one that is paused, disabled or unreadable needs nothing, unless it is
-- ordered to resume.
local function add_needs(needed, settings, endpoint, replays)
  if not settings or string.find(settings, '"paused":true', 1, true) then return end
  local fields = redis.pcall('HGETALL', endpoint)
  if fields.err then return end
  local state = {}
  for i = 1, #fields, 2 do state[fields[i]] = fields[i + 1] end
  local resume = state['resume'] or ''
  if (state['disabled'] or '') ~= '' and resume == '' then return end
  for name, value in pairs(state) do
    local shard = string.match(name, '^cursor:(%d+)$')
    if shard then need(needed, shard, value) end
  end
  local is_read, order = false, nil
  if resume ~= '' then is_read, order = pcall(cjson.decode, resume) end
  if is_read and type(order) == 'table' then
    for shard, id in pairs(order) do
      if string.match(shard, '^%d+$') and type(id) == 'string' then need(needed, shard, id) end
    end
  end
  local ranges = redis.pcall('LRANGE', replays, 0, -1)
  if ranges.err then return end
  for _, range in ipairs(ranges) do
    local shard, after = string.match(range, '^(%d+) (%S+) ')
    if shard then need(needed, shard, after) end
  end
end

local function write_needs(key, partition, needed)
  local parts = {}
  for shard, id in pairs(needed) do parts[#parts + 1] = shard .. ':' .. id end
  redis.call('HSET', key, partition, table.concat(parts, ' '))
end

-- A note that is missing stays so: it is computed from all webhooks of the partition.
local function lower_note(key, partition, settings, endpoint, replays)
  local note = redis.call('HGET', key, partition)
  if not note then return end
  local needed = {}
  for shard, id in string.gmatch(note, '(%d+):(%S+)') do needed[shard] = id end
  add_needs(needed, settings, endpoint, replays)
  write_needs(key, partition, needed)
end
