-- Shared by every script that reads or writes articles: how one is stored.
--
-- A string: FORM, the lengths of head and idx (4 bytes each), head, idx, doc. An empty part is one that
-- is missing. Versions before December 2026 stored a hash with these fields, which takes 230 bytes more;
-- whatever is written to it makes it a string.

local FORM, PREFIX_BYTES = '\1', 9

local function part(stored, from, to)
  local text = string.sub(stored, from, to)
  if text ~= '' then return text end
  return nil
end

-- Returns doc, head and idx; nil for what is missing. Another type, or another string, fails the call.
local function load_article(key)
  local stored = redis.pcall('GET', key)
  if not stored then return nil, nil, nil end
  if type(stored) == 'table' then
    local fields = redis.call('HMGET', key, 'doc', 'head', 'idx')
    return fields[1] or nil, fields[2] or nil, fields[3] or nil
  end
  -- Nothing that dateline wrote: an error of Redis that names the type.
  if string.sub(stored, 1, 1) ~= FORM or #stored < PREFIX_BYTES then redis.call('HLEN', key) end
  local head_bytes, idx_bytes = struct.unpack('>I4I4', string.sub(stored, 2, PREFIX_BYTES))
  local idx_at = PREFIX_BYTES + 1 + head_bytes
  local doc_at = idx_at + idx_bytes
  return part(stored, doc_at, -1), part(stored, PREFIX_BYTES + 1, idx_at - 1), part(stored, idx_at, doc_at - 1)
end

local function save_article(key, doc, head, idx)
  doc, head, idx = doc or '', head or '', idx or ''
  redis.call('SET', key, FORM .. struct.pack('>I4I4', #head, #idx) .. head .. idx .. doc)
end
