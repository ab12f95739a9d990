-- Shared by append.lua, withdraw.lua and erase.lua: ends an article's JSON, and appends its event to the stream.

local function tail(head)
  local mark = ''
  if head.marks then
    mark = string.format(',"duplicate_of":"%s","hidden_in":%s,"duplicate_revision":%d',
      head.duplicate_of or '', head.hidden_in and cjson.encode(head.hidden_in) or '[]', head.marks)
  end
  if head.corrections then mark = mark .. string.format(',"corrections":%d', head.corrections) end
  if head.erased then mark = mark .. ',"erased":true' end
  return string.format(
    ',"published":"%s","updated":"%s","first_seen":"%s","revision":%d,"content_hash":"%s","status":"%s"%s}',
    head.published, head.updated, head.first_seen, head.revision, head.hash, head.status, mark)
end

-- A CloudEvent 1.0 in binary-like form: attributes as fields, the article as `data`. Its id ends
-- with a hash of the data: after a restore, or the loss of the newest writes, a revision may come
-- again with other data, and receivers that drop repeats must not take it for the former one.
local function emit(stream, kind, id, doc, head, now)
  local data = string.sub(doc, 1, -2) .. tail(head)
  head.event = id .. '_' .. head.revision .. '_' .. string.sub(redis.sha1hex(kind .. data), 1, 12)
  redis.call('XADD', stream, '*',
    'specversion', '1.0', 'id', head.event, 'source', '/articles',
    'type', 'dateline.article.' .. kind .. '.v1', 'subject', id, 'time', now,
    'datacontenttype', 'application/json', 'data', data)
end
