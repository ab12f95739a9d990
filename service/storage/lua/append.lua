-- Store articles and append their events to the stream, all or nothing. A call that is sent again
-- changes nothing (clients resend after a lost reply).
--
-- KEYS  1 stream  2 dirty  3 categories  4… for each article of the call 2: article, bucket of its
--       mark if it was removed
-- ARGV  1 now (RFC 3339)  2 now (ms)  3 call id  4 '1' to bring withdrawn articles back
--       5 '1' to take removed articles in again
--       6 number of category titles t, then t pairs: path, title
--       then for each article 9: id, detail, content hash, doc, doc as it is stored (compressed),
--       published, updated ('' if unknown), history: JSON of revision, first_seen and status that
--       another archive gave it ('' if none did), for an article that is not known here, field of
--       its mark
-- Returns for each article {status, revision, event id}; status: created | updated | unchanged, or
-- why it was not taken: erased | removed (by retention; its revision is 0, its event id empty).
--
-- All reads come before the first write: a wrong type fails the call with nothing written.
--
-- `head` of an article, JSON: revision, hash, published, updated, first_seen, status, event, call,
-- said: the latest `updated` of its source, quiet: changes since without a later one, and
-- forms: detail → the content hash last seen with it. An article is compared with the last one of
-- the same detail, so that a site's list, feed and page of it do not overwrite each other in turn.

local now, now_ms, call, revive, readmit = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5] == '1'
local titles = tonumber(ARGV[6])
local first = 6 + 2 * titles
-- What `Removals` stores as the mark of an article that was erased after it was removed.
local ERASED = 'erased'

local function earlier(a, b) if a < b then return a end return b end

local function known_richer(forms, detail)
  for seen, _ in pairs(forms) do
    if (tonumber(seen) or -1) > tonumber(detail) then return true end
  end
  return false
end

-- Pages with a clock, a counter or an advertisement in the text change at each poll: after so many
-- changes without a later date of the source, further ones make no events. A record (detail 2) was
-- sent by a client and always counts.
local MAX_QUIET = 24

local function is_quiet(head, detail, updated)
  return detail ~= '2' and (updated == '' or updated <= (head.said or ''))
end

-- created | updated | unchanged | noted (unchanged, but its hash of this detail is stored), or why
-- it is not taken: erased | removed
local function judge(head, mark, detail, hash, updated)
  if not head then
    if mark == ERASED then return 'erased' end
    if mark and not readmit then return 'removed' end
    return 'created'
  end
  if head.erased then return 'erased' end
  if head.status == 'withdrawn' then
    if revive then return 'updated' end
    return 'unchanged'
  end
  local seen = head.forms[detail]
  if seen == hash then return 'unchanged' end
  if head.hash == hash then return 'noted' end
  if known_richer(head.forms, detail) and (not seen or detail == '0') then return 'noted' end
  if is_quiet(head, detail, updated) and (head.quiet or 0) >= MAX_QUIET then return 'noted' end
  return 'updated'
end

local function revise(head, detail, published, updated, indexed)
  if not head then
    local said = updated
    published = published ~= '' and earlier(published, now) or now
    updated = updated ~= '' and earlier(updated, now) or published
    return {
      revision = indexed + 1, published = published, updated = updated, first_seen = now, said = said,
      forms = {},
    }
  end
  head.quiet = is_quiet(head, detail, updated) and (head.quiet or 0) + 1 or nil
  if updated > (head.said or '') then head.said = updated end
  head.revision = head.revision + 1
  if published ~= '' then head.published = earlier(published, head.first_seen) end
  head.updated = updated > head.updated and earlier(updated, now) or now
  return head
end

-- The head of an article that another archive exported.
local function adopt(history, published, updated)
  local head = cjson.decode(history)
  head.first_seen = earlier(head.first_seen, now)
  head.published = published ~= '' and earlier(published, head.first_seen) or head.first_seen
  head.updated = updated ~= '' and earlier(updated, now) or head.published
  head.said, head.forms = updated, {}
  return head
end

local heads, indexed, marks = {}, {}, {}
redis.call('XLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[3])
for i = 4, #KEYS, 2 do
  heads[i], indexed[i] = read_head(KEYS[i])
  marks[i] = not heads[i] and redis.call('HGET', KEYS[i + 1], ARGV[first + (i - 4) / 2 * 9 + 9])
end

for i = 7, first, 2 do redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) end

local answers = {}
for i = 4, #KEYS, 2 do
  local at = first + (i - 4) / 2 * 9
  local id, detail, hash, doc = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local published, updated = ARGV[at + 6], ARGV[at + 7]
  local head = heads[i]
  local status
  if head and head.call == call then
    status = head.revision == 1 and 'created' or 'updated'
  else
    status = judge(head, marks[i], detail, hash, updated)
    if status == 'created' or status == 'updated' then
      local history, kind = ARGV[at + 8], status == 'created' and 'published' or 'updated'
      if status == 'created' and history ~= '' then
        head = adopt(history, published, updated)
        if head.status == 'withdrawn' then kind = 'withdrawn' end
      else
        head = revise(head, detail, published, updated, indexed[i])
        head.status = 'live'
      end
      head.hash, head.call = hash, call
      head.forms[detail] = hash
      emit(KEYS[1], kind, id, doc, head, now)
      redis.call('HSET', KEYS[i], 'doc', ARGV[at + 5], 'head', cjson.encode(head))
      redis.call('ZADD', KEYS[2], now_ms, id)
      if marks[i] then redis.call('HDEL', KEYS[i + 1], ARGV[at + 9]) end
    elseif status == 'noted' then
      head.forms[detail] = hash
      redis.call('HSET', KEYS[i], 'head', cjson.encode(head))
      status = 'unchanged'
    end
  end
  answers[#answers + 1] = {status, head and head.revision or 0, head and head.event or ''}
end
return answers
