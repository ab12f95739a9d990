-- Shared by the scripts that change an article, after article.lua: reads and writes its head
-- (append.lua).
--
-- A stored head is a msgpack map with short names, whose texts are packed: hashes, ids and dates take half
-- of their characters. service/articles/head.py reads it, too. Versions before December 2026 stored
-- JSON with the long names, which begins with a brace.

local NAMES = {
  revision = 'r', hash = 'h', full = 'f', published = 'p', updated = 'u', first_seen = 's', said = 'a',
  status = 't', event = 'e', call = 'c', forms = 'o', quiet = 'q', quiet_ms = 'm', owed = 'w',
  marks = 'k', corrections = 'n', duplicate_of = 'd', hidden_in = 'i', erased = 'x',
}
local LONG = {}
for name, short in pairs(NAMES) do LONG[short] = name end

local TEXTS = {'hash', 'status', 'event'}
local DATES = {'published', 'updated', 'first_seen'}
local DATE = '^[12]%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$'
-- Fields that a head may lack; one of another type counts as missing.
local OPTIONAL = {
  call = 'string', full = 'string', said = 'string', quiet = 'count', quiet_ms = 'count',
  owed = 'boolean', marks = 'count', corrections = 'count', duplicate_of = 'string',
  hidden_in = 'table', erased = 'boolean',
}
local PACKED = {
  hash = true, full = true, published = true, updated = true, first_seen = true, said = true,
  event = true, call = true, duplicate_of = true,
}

-- First byte of a packed text; an empty one is the same as `published`.
local PLAIN, HEX, HEX_PLUS, TWO_HASHES, MOMENT, UUID, EVENT = '=', '\1', '\2', '\3', '\4', '\5', '\6'
local HASH_DIGITS = 32

local function is_hex(text)
  return #text % 4 == 0 and string.find(text, '^[0-9a-f]+$') ~= nil
end

-- Numbers of 8 digits by one call for the usual lengths: tables and closures would double the time of an
-- append.
local function pack_hex(hex)
  local length = #hex
  if length == 32 then
    return struct.pack('>I4I4I4I4', tonumber(string.sub(hex, 1, 8), 16), tonumber(string.sub(hex, 9, 16), 16),
      tonumber(string.sub(hex, 17, 24), 16), tonumber(string.sub(hex, 25), 16))
  elseif length == 16 then
    return struct.pack('>I4I4', tonumber(string.sub(hex, 1, 8), 16), tonumber(string.sub(hex, 9), 16))
  elseif length == 12 then
    return struct.pack('>I4I2', tonumber(string.sub(hex, 1, 8), 16), tonumber(string.sub(hex, 9), 16))
  end
  local parts = {}
  for at = 1, length, 4 do
    parts[#parts + 1] = struct.pack('>I2', tonumber(string.sub(hex, at, at + 3), 16))
  end
  return table.concat(parts)
end

local function unpack_hex(bytes)
  local length = #bytes
  if length == 16 then
    local a, b, c, d = struct.unpack('>I4I4I4I4', bytes)
    return string.format('%08x%08x%08x%08x', a, b, c, d)
  elseif length == 8 then
    local a, b = struct.unpack('>I4I4', bytes)
    return string.format('%08x%08x', a, b)
  elseif length == 6 then
    local a, b = struct.unpack('>I4I2', bytes)
    return string.format('%08x%04x', a, b)
  end
  local parts = {}
  for at = 1, length, 2 do
    local number = struct.unpack('>I2', string.sub(bytes, at, at + 1))
    parts[#parts + 1] = string.format('%04x', number)
  end
  return table.concat(parts)
end

local function pack_text(text)
  if string.find(text, DATE) then
    local day = string.sub(text, 1, 4) .. string.sub(text, 6, 7) .. string.sub(text, 9, 10)
    local ms = string.sub(text, 12, 13) .. string.sub(text, 15, 16) .. string.sub(text, 18, 19) .. string.sub(text, 21, 23)
    return MOMENT .. struct.pack('>I4I4', tonumber(day), tonumber(ms))
  end
  if is_hex(text) then return HEX .. pack_hex(text) end
  local hash, full = string.match(text, '^([0-9a-f]+)%.([0-9a-f]+)$')
  if hash and #hash == HASH_DIGITS and is_hex(full) then
    return TWO_HASHES .. pack_hex(hash) .. pack_hex(full)
  end
  local call = string.match(text, '^([0-9a-f]+)%+$')
  if call and is_hex(call) then return HEX_PLUS .. pack_hex(call) end
  if string.find(text, '^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$') then
    local hex = string.gsub(text, '-', '')
    if is_hex(hex) then return UUID .. pack_hex(hex) end
  end
  return PLAIN .. text
end

local UNPACKED = {
  [PLAIN] = function(bytes) return bytes end,
  [HEX] = unpack_hex,
  [HEX_PLUS] = function(bytes) return unpack_hex(bytes) .. '+' end,
  [TWO_HASHES] = function(bytes)
    local at = HASH_DIGITS / 2
    return unpack_hex(string.sub(bytes, 1, at)) .. '.' .. unpack_hex(string.sub(bytes, at + 1))
  end,
  [MOMENT] = function(bytes)
    local day, ms = struct.unpack('>I4I4', bytes)
    return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ',
      math.floor(day / 10000), math.floor(day / 100) % 100, day % 100,
      math.floor(ms / 10000000), math.floor(ms / 100000) % 100, math.floor(ms / 1000) % 100, ms % 1000)
  end,
  [UUID] = function(bytes)
    return (string.gsub(unpack_hex(bytes), '^(........)(....)(....)(....)(............)$', '%1-%2-%3-%4-%5'))
  end,
}

local function unpack_text(packed)
  return UNPACKED[string.sub(packed, 1, 1)](string.sub(packed, 2))
end

-- Id of an event without the 12 digits at its end.
local function event_prefix(key, revision)
  return string.match(key, ':article:(.*)$') .. '_' .. revision .. '_'
end

local function pack_head(head, key)
  local packed = {}
  for name, value in pairs(head) do
    local is_text = PACKED[name] and type(value) == 'string'
    packed[NAMES[name] or name] = is_text and pack_text(value) or value
  end
  for _, name in ipairs({'updated', 'first_seen', 'said'}) do
    if head[name] == head.published then packed[NAMES[name]] = '' end
  end
  if head.status == 'live' then packed.t = nil end
  local prefix = event_prefix(key, head.revision)
  local digits = type(head.event) == 'string' and string.sub(head.event, #prefix + 1) or ''
  if #digits == 12 and is_hex(digits) and string.sub(head.event, 1, #prefix) == prefix then
    packed.e = EVENT .. pack_hex(digits)
  end
  local latest = (head.hash or '') .. '.' .. (head.full or '')
  packed.o = {}
  for form, seen in pairs(head.forms or {}) do
    if seen == latest then
      packed.o[form] = ''
    else
      packed.o[form] = type(seen) == 'string' and pack_text(seen) or seen
    end
  end
  return cmsgpack.pack(packed)
end

local function unpack_head(stored, key)
  -- No map of msgpack begins with a character of JSON.
  if string.byte(stored) < 128 then return cjson.decode(stored) end
  local packed, head = cmsgpack.unpack(stored), {status = 'live'}
  for name, value in pairs(packed) do head[LONG[name] or name] = value end
  head.published = unpack_text(packed.p)
  for name in pairs(PACKED) do
    local value = head[name]
    if value == '' then
      head[name] = head.published
    elseif name == 'event' and type(value) == 'string' and string.sub(value, 1, 1) == EVENT then
      head.event = event_prefix(key, head.revision) .. unpack_hex(string.sub(value, 2))
    elseif name ~= 'published' and type(value) == 'string' then
      head[name] = unpack_text(value)
    end
  end
  local latest = (head.hash or '') .. '.' .. (head.full or '')
  for form, seen in pairs(head.forms) do
    if type(seen) == 'string' then head.forms[form] = seen == '' and latest or unpack_text(seen) end
  end
  return head
end

-- What known.lua compares, without the rest of the head: the hashes that were seen last with a form, whether
-- an event is owed, and whether the article is erased; nil for a head that cannot be read.
local function seen_in(stored, form)
  local head = string.byte(stored) < 128 and cjson.decode(stored) or cmsgpack.unpack(stored)
  if not head.o then return head.forms[form], head.owed, head.erased end
  local seen = head.o[form]
  if seen == '' then
    seen = unpack_text(head.h) .. '.' .. (head.f and unpack_text(head.f) or '')
  elseif seen then
    seen = unpack_text(seen)
  end
  return seen, head.w, head.x
end

local function is_of_kind(value, kind)
  if kind ~= 'count' then return type(value) == kind end
  return type(value) == 'number' and value >= 0 and value < 2 ^ 53
end

-- What stands for a head that cannot be read: an erased article stays erased, another is as new.
local function unread(stored, indexed)
  local is_erased = string.find(stored, '"erased":true', 1, true) or string.find(stored, '\161x\195', 1, true)
  if not is_erased then return nil, indexed end
  return {
    revision = indexed, hash = '', status = 'withdrawn', erased = true, event = '', forms = {},
  }, indexed
end

local function checked_head(stored, indexed, key)
  local is_readable, head = pcall(unpack_head, stored, key)
  if not is_readable or type(head) ~= 'table' then return unread(stored, indexed) end
  if not is_of_kind(head.revision, 'count') or type(head.forms) ~= 'table' then
    return unread(stored, indexed)
  end
  for _, name in ipairs(TEXTS) do
    if type(head[name]) ~= 'string' then return unread(stored, indexed) end
  end
  for _, name in ipairs(DATES) do
    if type(head[name]) ~= 'string' or not string.match(head[name], DATE) then
      return unread(stored, indexed)
    end
  end
  for name, kind in pairs(OPTIONAL) do
    if not is_of_kind(head[name], kind) then head[name] = nil end
  end
  return head, indexed
end

-- Returns the head; nil if it is missing or if a hand made it unreadable, because one such article
-- must not fail a whole call. Then the second value is the revision that the indexes hold. The third is
-- the article as it is stored: doc, head, idx.
local function read_head(key)
  local doc, stored, idx = load_article(key)
  local article = {doc = doc, head = stored, idx = idx}
  if not stored then return nil, 0, article end
  local indexed = tonumber(string.match(idx or '', '^%d+') or '0')
  local head, revision = checked_head(stored, indexed, key)
  return head, revision, article
end
