-- Shared by append.lua, withdraw.lua, erase.lua, mark.lua and index.lua: reads the head of an article
-- (append.lua).

local TEXTS = {'hash', 'status', 'event'}
local DATES = {'published', 'updated', 'first_seen'}
local DATE = '^[12]%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$'
-- Fields that a head may lack; one of another type counts as missing.
local OPTIONAL = {
  call = 'string', full = 'string', said = 'string', quiet = 'count', quiet_ms = 'count',
  owed = 'boolean', marks = 'count', corrections = 'count', duplicate_of = 'string',
  hidden_in = 'table', erased = 'boolean',
}

local function is_of_kind(value, kind)
  if kind ~= 'count' then return type(value) == kind end
  return type(value) == 'number' and value >= 0 and value < 2 ^ 53
end

-- What stands for a head that cannot be read: an erased article stays erased, another is as new.
local function unread(stored, indexed)
  if not string.find(stored, '"erased":true', 1, true) then return nil, indexed end
  return {
    revision = indexed, hash = '', status = 'withdrawn', erased = true, event = '', forms = {},
  }, indexed
end

-- Returns the head; nil if it is missing or if a hand made it unreadable, because one such article
-- must not fail a whole call. Then the second value is the revision that the indexes hold.
local function read_head(key)
  local stored = redis.call('HMGET', key, 'head', 'idx')
  if not stored[1] then return nil, 0 end
  local indexed = tonumber(string.match(stored[2] or '', '^%d+') or '0')
  local is_json, head = pcall(cjson.decode, stored[1])
  if not is_json or type(head) ~= 'table' then return unread(stored[1], indexed) end
  if not is_of_kind(head.revision, 'count') or type(head.forms) ~= 'table' then
    return unread(stored[1], indexed)
  end
  for _, name in ipairs(TEXTS) do
    if type(head[name]) ~= 'string' then return unread(stored[1], indexed) end
  end
  for _, name in ipairs(DATES) do
    if type(head[name]) ~= 'string' or not string.match(head[name], DATE) then
      return unread(stored[1], indexed)
    end
  end
  for name, kind in pairs(OPTIONAL) do
    if not is_of_kind(head[name], kind) then head[name] = nil end
  end
  return head, indexed
end
