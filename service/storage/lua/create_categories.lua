-- Create the categories that one source names, up to its limit. Safe to send twice: what exists is
-- not counted again.
--
-- KEYS  1 categories of shard 0, where all new ones are registered  2 created categories by source
-- ARGV  1 source  2 most categories that it may create  3 now (RFC 3339)
--       4 number f of free categories, then f pairs: path, title; they are created without a count
--       then for each category: its number of steps n, then n pairs from the top down: path, title
-- Returns whether this is the source's first refusal since it last created one (1 or 0), then for
-- each category how many of its steps exist now. A category is created with all its steps or not at
-- all.
--
-- A source's value is JSON: created, its count; refused, a category that it could not create, and
-- since, when that was, both only while it can create no more.

-- Sources that created nothing but were refused have a value, too, up to so many values.
local MAX_NAMED = 10000

local source, limit, now = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local stored = redis.call('HGET', KEYS[2], source)
local is_read, record = pcall(cjson.decode, stored or '{}')
-- What another program wrote there counts as nothing.
if not is_read or type(record) ~= 'table' then record = {} end
record.created = tonumber(record.created) or 0
local created, refused = record.created, nil

local at = 5 + 2 * tonumber(ARGV[4])
for i = 5, at - 1, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end

local answer = {0}
while at <= #ARGV do
  local steps = tonumber(ARGV[at])
  local existing, missing = 0, {}
  for i = 1, steps do
    local path = ARGV[at + 2 * i - 1]
    if redis.call('HEXISTS', KEYS[1], path) == 0 then
      missing[#missing + 1] = at + 2 * i - 1
    elseif #missing == 0 then
      existing = i
    end
  end
  if created + #missing <= limit then
    for _, i in ipairs(missing) do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
    created, existing = created + #missing, steps
  else
    refused = refused or ARGV[at + 2 * steps - 1]
  end
  answer[#answer + 1] = existing
  at = at + 1 + 2 * steps
end

if created ~= record.created then record = {created = created} end
if refused and not record.refused then
  record.refused, record.since, answer[1] = refused, now, 1
end
if (created > 0 or redis.call('HLEN', KEYS[2]) < MAX_NAMED) and (created > 0 or refused) then
  local after = cjson.encode(record)
  if after ~= stored then redis.call('HSET', KEYS[2], source, after) end
end
return answer
