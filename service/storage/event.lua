-- Shared by append.lua and withdraw.lua: the tail of an article's JSON, and its event on the stream.

local function tail(head)
  return string.format(
    ',"published":"%s","updated":"%s","first_seen":"%s","revision":%d,"content_hash":"%s","status":"%s"}',
    head.published, head.updated, head.first_seen, head.revision, head.hash, head.status)
end

-- A CloudEvent 1.0 in binary-like form: attributes as fields, the article as `data`.
local function emit(stream, kind, id, doc, head, now)
  head.event = id .. '_' .. head.revision
  redis.call('XADD', stream, '*',
    'specversion', '1.0', 'id', head.event, 'source', '/articles',
    'type', 'dateline.article.' .. kind .. '.v1', 'subject', id, 'time', now,
    'datacontenttype', 'application/json', 'data', string.sub(doc, 1, -2) .. tail(head))
end
